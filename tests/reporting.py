"""The closing tables of a test run: a line per test file and per system under test (OPS-6)."""

import enum
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Final

import pytest

from tests.services import LACK

OUTSIDE: Final = "(outside tests/)"


class Outcome(enum.IntEnum):
    """How a test ended; of several phases the worst counts. An expected failure counts as skipped."""

    PASSED = 0
    SKIPPED = 1
    FAILED = 2


@dataclass
class Result:
    """One test over its set-up, call and tear-down."""

    file: str
    system: str
    outcome: Outcome = Outcome.PASSED
    seconds: float = 0.0


def system_under_test(file: str) -> str:
    """Name the system that a test file is about.

    `tests/unit/` mirrors the source, so two levels of it name the system: `tests/unit/actors/safety/test_x.py`
    is about `actors.safety`, `tests/unit/actors/test_runtime.py` about `actors.runtime`. Any other folder of
    tests keeps its own name in front: `tests/wire/modbus/test_x.py` and `tests/wire/test_modbus.py` are both
    `wire.modbus`.
    """
    path = PurePosixPath(file)
    if path.parts[:1] != ("tests",):
        return OUTSIDE
    names = [*path.parts[1:-1], path.stem.removeprefix("test_")]
    if names[0] == "unit" and len(names) > 1:
        del names[0]
    return ".".join(names[:2])


def table(title: str, rows: Mapping[str, list[Result]]) -> Iterator[tuple[str, bool]]:
    """Yield the lines of one table, each with whether something in it failed."""
    width = max(len(title), *(len(name) for name in rows))
    yield f"{title:<{width}}  passed  failed  skipped  seconds", False
    for name, results in sorted(rows.items()):
        count = Counter(result.outcome for result in results)
        seconds = sum(result.seconds for result in results)
        yield (
            (
                f"{name:<{width}}  {count[Outcome.PASSED]:>6}  {count[Outcome.FAILED]:>6}"
                f"  {count[Outcome.SKIPPED]:>7}  {seconds:>7.2f}"
            ),
            bool(count[Outcome.FAILED]),
        )


class Report:
    """Collects the result of each test and prints the tables."""

    def __init__(self) -> None:
        self._systems: dict[str, str] = {}
        self._results: dict[str, Result] = {}
        self._lacking: dict[str, set[str]] = {}

    def pytest_itemcollected(self, item: pytest.Item) -> None:
        """Note the system that a marker names."""
        if (marker := item.get_closest_marker("system")) is not None:
            (self._systems[item.nodeid],) = marker.args
            item.user_properties.append(("system", *marker.args))

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Count a file that cannot be read as one failed test, one that skips itself as one skipped."""
        if report.failed:
            self._result(report.nodeid).outcome = Outcome.FAILED
        elif report.skipped:
            self._skip(report.nodeid, report.longrepr)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Add a phase of a test to its result."""
        for name, value in report.user_properties:
            if name == "system":  # collected by another process, where several workers run the tests
                self._systems.setdefault(report.nodeid, str(value))
        result = self._result(report.nodeid)
        if type(report) is pytest.TestReport:  # a subtest's time is part of its test's
            result.seconds += report.duration
        if report.failed:
            result.outcome = Outcome.FAILED
        elif report.skipped:
            self._skip(report.nodeid, report.longrepr)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> Iterator[None]:
        """Print the tables after everything else, right above pytest's closing line."""
        yield
        if not self._results:
            return
        files: dict[str, list[Result]] = {}
        systems: dict[str, list[Result]] = {}
        for result in self._results.values():
            files.setdefault(result.file, []).append(result)
            systems.setdefault(result.system, []).append(result)
        terminalreporter.section("results")
        for line, failed in table("test file", files):
            terminalreporter.write_line(line, red=failed)
        terminalreporter.write_line("")
        for line, failed in table("system under test", systems):
            terminalreporter.write_line(line, red=failed)
        if self._lacking:
            terminalreporter.write_line("")
            what = ", ".join(f"{name} ({len(tests)})" for name, tests in sorted(self._lacking.items()))
            terminalreporter.write_line(
                f"SKIPPED FOR LACK OF: {what}. `make services` installs them.", yellow=True, bold=True
            )

    def _result(self, nodeid: str) -> Result:
        if nodeid not in self._results:
            file = nodeid.partition("::")[0]
            system = self._systems.get(nodeid, system_under_test(file))
            self._results[nodeid] = Result(file=file, system=system)
        return self._results[nodeid]

    def _skip(self, nodeid: str, longrepr: object) -> None:
        result = self._result(nodeid)
        result.outcome = max(result.outcome, Outcome.SKIPPED)
        reason = longrepr[2] if isinstance(longrepr, tuple) else ""
        _, found, name = reason.partition(LACK)
        if found:
            self._lacking.setdefault(name, set()).add(nodeid)


def pytest_configure(config: pytest.Config) -> None:
    """Register the report of this run."""
    config.pluginmanager.register(Report(), "calejo-report")
