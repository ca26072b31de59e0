"""For pytest: another project's tests as they are, with nothing fetched, counted by file.

A test whose server ends with llama_server.py's NOT_OURS is counted as not applicable.
"""

import collections
import sys
import types

# Their helpers import it to fetch models.
sys.modules["wget"] = types.ModuleType("wget")
import utils

utils.ServerPreset.load_all = staticmethod(lambda: None)
NOT_OURS = "died with return code 3"
counts = collections.defaultdict(collections.Counter)


def pytest_runtest_logreport(report):
    if report.when == "call" or not report.passed:
        is_ours = not (report.failed and NOT_OURS in report.longreprtext)
        if report.when != "teardown":
            counts[report.location[0]][report.outcome if is_ours else "not applicable"] += 1


def pytest_unconfigure():
    outcomes = ("passed", "failed", "skipped", "not applicable")
    total = collections.Counter()
    for file, found in sorted(counts.items()):
        total.update(found)
        told = ", ".join(f"{found[outcome]} {outcome}" for outcome in outcomes)
        print(f"{file}: {told}")
    told = ", ".join(f"{total[outcome]} {outcome}" for outcome in outcomes)
    print(f"all: {told}")
