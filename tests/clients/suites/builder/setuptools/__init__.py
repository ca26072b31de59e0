"""Stands in for the builder of packages of which only the source is wanted. Next: `build_meta.py`."""
