"""Tells pip a package's name and version as its source says them; builds and runs nothing of it."""

import email.parser
import pathlib
import shutil


def prepare_metadata_for_build_wheel(folder, config_settings=None):
    source = pathlib.Path("PKG-INFO")
    told = email.parser.Parser().parsestr(source.read_text())
    name = f"{told['Name']}-{told['Version']}.dist-info"
    metadata = pathlib.Path(folder, name)
    metadata.mkdir()
    shutil.copy(source, metadata / "METADATA")
    return name
