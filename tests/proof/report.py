"""Writes what `make prove` found: by part, with figures, time and the commit (plugin: `-p tests.proof.report`)."""

from __future__ import annotations

import os
import platform
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parents[2]

HEAD: Final = """\
# What is proved, and by what

Written by `make prove` with the commit that it ran on; do not edit. Where to start reading: the kernel's invariants in
[tests/proof/invariants.py](../../tests/proof/invariants.py), the states they are searched in
([spaces.py](../../tests/proof/spaces.py)), the model of fencing, freshness and latch
([fencing.pml](../../tests/proof/fencing.pml)), and why it is done this way
([0035](../decisions/0035-proofs.md)).
"""

ABOUT: Final = {
    "tests/proof/test_kernel_exhaustive.py": "Kernel: every invariant in every case of the discretised spaces",
    "tests/proof/test_rules_removed.py": "Kernel: each rule taken out is missed",
    "tests/proof/test_mutants.py": "Law modules: changed code is missed",
    "tests/proof/test_fencing_model.py": "Fencing, freshness and latch: spin",
    "tests/proof/test_fencing_conformance.py": "The model says what the code does",
    "tests/proof/test_known_defects.py": "Found by the searches: repaired, or known",
    "tests/proof/test_coverage.py": "Branch coverage of the law modules",
    "tests/simulation/test_site.py": "Whole sites in virtual time, thousands of seeds",
    "tests/unit/actors/safety/test_kernel.py": "Kernel: stories of arbitrary numbers (hypothesis)",
}


@dataclass
class Part:
    """What the tests of one file came to."""

    passed: int = 0
    failed: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    known: list[str] = field(default_factory=list)
    seconds: float = 0.0
    figures: list[str] = field(default_factory=list)

    def take(self, report: pytest.TestReport) -> None:
        """Add one phase of a test."""
        name = report.nodeid.partition("::")[2]
        self.seconds += report.duration
        if report.failed:
            self.failed.append(name)
        elif report.skipped and hasattr(report, "wasxfail"):
            self.known.append(f"`{name}`: {report.wasxfail}")
        elif report.skipped:
            self.skipped.append(name)
        elif report.when == "call":
            self.passed += 1
        if report.when == "call":
            self.figures += [str(value) for key, value in report.user_properties if key == "figures"]


class ProofReport:
    """Collects the parts and writes the page when all is over."""

    def __init__(self, path: Path, arguments: str) -> None:
        self._path = path
        self._arguments = arguments
        self._parts: dict[str, Part] = {}
        self._began_s = time.monotonic()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Take one phase of a test."""
        self._parts.setdefault(report.nodeid.partition("::")[0], Part()).take(report)

    def pytest_sessionfinish(self) -> None:
        """Write the page."""
        if self._parts:
            self._path.write_text("\n".join(self._lines()) + "\n", encoding="utf-8")

    def _lines(self) -> Iterator[str]:
        yield HEAD
        yield f"- commit: {_commit()}"
        yield f"- run: {datetime.now(UTC):%Y-%m-%d %H:%M} UTC, {time.monotonic() - self._began_s:.0f} s"  # noqa: TID251  (a page for people)
        yield f"- machine: {os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}"
        yield f"- asked for: `{self._arguments}`"
        yield ""
        yield "| part | passed | failed | skipped | known | seconds |"
        yield "|---|---|---|---|---|---|"
        for file, part in sorted(self._parts.items()):
            counts = (part.passed, len(part.failed), len(part.skipped), len(part.known))
            told = " | ".join(map(str, counts))
            yield f"| {ABOUT.get(file, file)} | {told} | {part.seconds:.0f} |"
        for file, part in sorted(self._parts.items()):
            if not (part.figures or part.failed or part.skipped or part.known):
                continue
            yield f"\n## {ABOUT.get(file, file)}\n\n`{file}`\n"
            yield from (f"- FAILED: `{name}`" for name in part.failed)
            yield from (f"- skipped, so not proved: `{name}`" for name in part.skipped)
            yield from (f"- known: {name}" for name in part.known)
            yield from (f"- {figure}" for figure in part.figures)


def _commit() -> str:
    def git(*arguments: str) -> str:
        command = ["git", *arguments]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=30)
        return done.stdout.strip()

    changed = git("status", "--porcelain", "--untracked-files=no")
    return f"{git('rev-parse', '--short=12', 'HEAD') or 'unknown'}{' and changes not committed' if changed else ''}"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add where the page goes."""
    parser.addoption("--proof-report", default=None, help="write what was proved to this file")


def pytest_configure(config: pytest.Config) -> None:
    """Collect only where a page is wanted."""
    if path := config.getoption("--proof-report"):
        arguments = " ".join(config.invocation_params.args)
        config.pluginmanager.register(ProofReport(Path(path), arguments))
