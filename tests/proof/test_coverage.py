"""Branch coverage of the law modules by their unit tests and the quick proofs; what is missing is kept by name."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest

ROOT: Final = Path(__file__).parents[2]
KEPT: Final = Path(__file__).with_name("uncovered.txt")
SHELLS: Final = ("actors/*/actor.py",)


def kept() -> dict[tuple[str, str], str]:
    """Source lines that no test reaches, or leaves in one direction only, with the reason."""
    known: dict[tuple[str, str], str] = {}
    for line in KEPT.read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("#"):
            place, _, why = line.partition("  # ")
            file, _, text = place.partition(": ")
            known[file, text] = why
    return known


def missing(figures: dict[str, Any]) -> set[tuple[str, str]]:
    """Name every line and every branch that was not taken, by file and the text of its line."""
    found: set[tuple[str, str]] = set()
    for file, of_file in figures["files"].items():
        lines = (ROOT / file).read_text(encoding="utf-8").splitlines()
        numbers = {*of_file["missing_lines"], *(abs(begin) for begin, _ in of_file["missing_branches"])}
        found |= {(file, lines[number - 1].strip()) for number in numbers}
    return found


def test_what_is_kept_has_a_reason_and_exists() -> None:
    """BYD-5: the list of what is not covered names lines that are there, each with its reason."""
    for (file, text), why in kept().items():
        lines = {line.strip() for line in (ROOT / file).read_text(encoding="utf-8").splitlines()}
        assert text in lines, f"{file} has no line {text!r} any more"
        assert why, f"{file}: {text!r} has no reason"


@pytest.mark.prove
@pytest.mark.timeout(1800)
def test_every_branch_of_the_law_is_taken(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    """BYD-5: each branch of each law module is taken by a test, but for those kept with a reason."""
    data, figures_file = tmp_path / "data", tmp_path / "figures.json"

    def coverage(*arguments: str | Path) -> None:
        command = [sys.executable, "-m", "coverage", *map(str, arguments)]
        env = {**os.environ, "COVERAGE_FILE": str(data)}
        done = subprocess.run(
            command, cwd=ROOT, env=env, capture_output=True, text=True, check=False, timeout=1500
        )
        assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]

    tests = (
        "tests/unit/actors",
        "tests/proof/test_kernel_exhaustive.py",
        "tests/proof/test_rules_removed.py",
    )
    coverage("run", "--branch", "--source=actors", "-m", "pytest", "-q", "-p", "no:cacheprovider", *tests)
    coverage("json", f"--omit={','.join(SHELLS)}", "-q", "-o", figures_file)
    figures = json.loads(figures_file.read_text(encoding="utf-8"))
    totals = figures["totals"]
    record_property(
        "figures",
        f"{totals['covered_branches']} of {totals['num_branches']} branches, {totals['covered_lines']} of "
        f"{totals['num_statements']} statements in {len(figures['files'])} law modules",
    )
    known = kept()
    for file, text in sorted(missing(figures)):
        record_property("figures", f"not covered: {file}: `{text}`: {known.get((file, text), 'NO REASON')}")
    unknown = sorted(missing(figures) - known.keys())
    assert not unknown, "\n".join(f"{file}: {text}" for file, text in unknown)
