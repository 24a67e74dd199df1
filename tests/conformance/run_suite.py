"""Run one suite of Twisted's tests on one reactor; the report is the last line of the output.

Usage: ``run_suite.py SUITE REACTOR``. A suite is a module beside this one with a function
``cases(reactor, listened)``.
"""

from __future__ import annotations

import asyncio
import faulthandler
import importlib
import json
import sys
from pathlib import Path
from typing import Any

import twisted
from twisted.logger import globalLogBeginner
from twisted.python.failure import Failure
from twisted.trial.reporter import TestResult
from twisted.trial.unittest import TestSuite

RUN_SECONDS = 6
"""How long Twisted lets a test run its reactor."""
HANG_SECONDS = 30
"""Some tests run theirs without that limit: then the process ends, and says where it was."""
FAILURES = 10
"""Enough to see what is wrong; a wrong adapter takes ``RUN_SECONDS`` for each."""
DESCRIPTORS = 256
"""Some tests use up all descriptors: few are quick, and select takes no number above 1023."""


class Report(TestResult):
    """The outcomes, by builder and test: ``TCPPortTestsBuilder.test_portGetHostOnIPv4``."""

    def __init__(self, reactor: str) -> None:
        super().__init__()
        self._suffix = f"_{reactor}Tests"
        self._test = ""
        self._failed: dict[str, str] = {}
        self._listened: dict[str, set[str]] = {}

    def listened(self, through: str) -> None:
        """Note through what the present test listens."""
        self._listened.setdefault(through, set()).add(self._test)

    def startTest(self, test: Any) -> None:
        super().startTest(test)
        self._test = self._name(test)
        faulthandler.dump_traceback_later(HANG_SECONDS, exit=True)

    def stopTest(self, test: Any) -> None:
        faulthandler.cancel_dump_traceback_later()
        super().stopTest(test)

    def addFailure(self, test: Any, fail: Any) -> None:
        super().addFailure(test, fail)
        self._fail(test, self._getFailure(fail))

    def addError(self, test: Any, error: Any) -> None:
        super().addError(test, error)
        self._fail(test, self._getFailure(error))

    def _fail(self, test: Any, failure: Failure) -> None:
        # At once: a test that hangs later must not hide it.
        print(f"{test.id()}\n{failure.getTraceback()}", file=sys.stderr, flush=True)
        self._failed[self._name(test)] = failure.getErrorMessage()
        if len(self._failed) >= FAILURES:
            self.stop()

    def as_dict(self) -> dict[str, Any]:
        return {
            "twisted": twisted.__version__,
            "ran": self.testsRun - len(self.skips),
            "failed": self._failed,
            "skipped": {self._name(test): str(reason) for test, reason in self.skips},
            "listened": {through: sorted(tests) for through, tests in self._listened.items()},
        }

    def _name(self, test: Any) -> str:
        builder = type(test).__name__.removesuffix(self._suffix)
        return f"{builder}.{test.id().rpartition('.')[2]}"


def main(suite: str, reactor: str) -> None:
    if sys.platform != "win32":
        import resource

        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (DESCRIPTORS, hard))
    # Where the folder of a program is not on the path (PYTHONSAFEPATH).
    sys.path.insert(0, str(Path(__file__).parent))
    # Many tests log errors on purpose; those that do not expect one look for themselves.
    globalLogBeginner.beginLoggingTo([], redirectStandardIO=False, discardBuffer=True)
    if reactor == "AsyncioSelectorReactor":
        # Twisted's builder asks for the present loop; from CPython 3.14 on there has to be one.
        asyncio.set_event_loop(asyncio.new_event_loop())
    report = Report(reactor)
    tests = TestSuite()
    for case in importlib.import_module(suite).cases(reactor, report.listened):
        case.timeout = RUN_SECONDS
        names = [name for name in dir(case) if name.startswith("test_")]
        tests.addTests(case(name) for name in names if getattr(case, name) is not None)
    tests.run(report)
    print(json.dumps(report.as_dict()))


if __name__ == "__main__":
    main(*sys.argv[1:])
