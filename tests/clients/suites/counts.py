"""For pytest: outcomes of another project's tests, counted by file, and why some fail.

A test that fails for a *missing feature* had an answer that says so: a route or a method that is
not there, or a field that is refused by name; or its server was asked for one by a flag. The suite may
name more of them, and those that *need another model*. Any other has a *different answer*.
"""

import collections

import httpx
import httpx2
import pytest
import requests

OUTCOMES = (
    "passed", "missing feature", "different answer", "another model", "skipped", "not applicable",
)
# A reason that begins so.
NOT_OURS = "not applicable: "
ABSENT = (404, 405, 501)
REFUSED = "not_supported"

counts = collections.defaultdict(collections.Counter)
reasons = collections.Counter()
told = []
# Of the running test: whether it asked a server, and whether an answer told of a missing feature.
asks, missing = [False], [False]
# Why a test that fails and asks no server is not ours; nothing where each does.
without_server = [None]
# Whether the running server was asked for what it does not have.
lacks = [False]
# Parts of tests' ids to what their failure is, where their answers do not tell.
known = {}


def not_ours(why):
    """Ends the running test, which is not about what a server of ours does."""
    pytest.skip(NOT_OURS + why)


def note(answer):
    if answer.status_code in ABSENT or REFUSED in answer.text:
        missing[0] = True


def watch(owner, name, is_async):
    """Reads each refusal; its body stays readable."""
    send = getattr(owner, name)

    def plain(self, *given, **named):
        asks[0] = True
        answer = send(self, *given, **named)
        if answer.status_code >= 400:
            if hasattr(answer, "read"):
                answer.read()
            note(answer)
        return answer

    async def later(self, *given, **named):
        asks[0] = True
        answer = await send(self, *given, **named)
        if answer.status_code >= 400:
            await answer.aread()
            note(answer)
        return answer

    setattr(owner, name, later if is_async else plain)


watch(requests.Session, "send", False)
for module in (httpx, httpx2):
    watch(module.Client, "send", False)
    watch(module.AsyncClient, "send", True)


def pytest_runtest_setup(item):
    asks[0] = missing[0] = False


def outcome(report):
    if report.skipped:
        why = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        why = why.removeprefix("Skipped: ")
        if not why.startswith(NOT_OURS):
            return "skipped"
        reasons[why.removeprefix(NOT_OURS)] += 1
        return "not applicable"
    if report.passed:
        return "passed"
    if without_server[0] and not asks[0]:
        reasons[without_server[0]] += 1
        return "not applicable"
    found = next((known[name] for name in known if name in report.nodeid), None)
    return found or ("missing feature" if missing[0] or lacks[0] else "different answer")


def pytest_runtest_logreport(report):
    if report.when != "teardown" and (report.when == "call" or not report.passed):
        found = outcome(report)
        counts[report.location[0]][found] += 1
        if report.failed and found != "not applicable":
            told.append((found, report.nodeid))


def pytest_collectreport(report):
    if report.failed:
        counts[report.nodeid]["not applicable"] += 1
        reasons["a file that cannot be read without its packages"] += 1
        told.append(("cannot be read", report.nodeid))


def line(found):
    return ", ".join(f"{found[outcome]} {outcome}" for outcome in OUTCOMES if found[outcome])


def pytest_unconfigure():
    total = collections.Counter()
    for found, test in sorted(told):
        print(f"{found}: {test}")
    for file, found in sorted(counts.items()):
        total.update(found)
        print(f"{file}: {line(found)}")
    for why, count in reasons.most_common():
        print(f"not applicable: {count}: {why}")
    failed = sum(total[outcome] for outcome in OUTCOMES[1:4])
    # pytest may have ended in the middle of a line.
    print(
        f"\nall: {total['passed']} passed, {failed} failed ({total['missing feature']} for a missing "
        f"feature, {total['different answer']} with a different answer, {total['another model']} need "
        f"another model), {total['skipped']} skipped, {total['not applicable']} not applicable"
    )
