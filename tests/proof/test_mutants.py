"""Law modules changed in one place at a time: some proof must miss each change; survivors are kept with a reason."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

import pytest

from tests.proof.mutants import PROOFS, ROOT, Mutant, changed

KEPT: Final = Path(__file__).with_name("survivors.txt")
MUTANT_BUDGET_S: Final = 120.0


def kept() -> dict[str, str]:
    """Changes that no proof misses, with why that is so."""
    known: dict[str, str] = {}
    for line in KEPT.read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("#"):
            change, _, why = line.partition("  # ")
            known[change] = why
    return known


def survives(module: str, index: int) -> bool:
    """Ask in a process of its own; one that hangs is missed."""
    command = [sys.executable, "-m", "tests.proof.mutants", module, str(index)]
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, timeout=MUTANT_BUDGET_S, check=False)
    except subprocess.TimeoutExpired:
        return False
    assert done.returncode in {0, 1}, done.stderr.decode()
    return done.returncode == 1


def test_a_change_is_told_from_none() -> None:
    """BYD-5: the gate as it is survives; with its fence turned around it does not."""
    mutants = changed("actors.publisher.gate", None)[1]
    turned = next(mutant for mutant in mutants if mutant.after == "setpoint.epoch <= floor")
    assert survives("actors.publisher.gate", -1)
    assert not survives("actors.publisher.gate", turned.index)


def test_every_survivor_has_a_reason_and_exists() -> None:
    """BYD-5: the list names changes that can still be made, each with its reason."""
    every = {f"{module}: {mutant}" for module in PROOFS for mutant in changed(module, None)[1]}
    for change, why in kept().items():
        assert change in every, f"no such change any more: {change}"
        assert why, f"no reason: {change}"


@pytest.mark.prove
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("module", PROOFS)
def test_every_change_is_missed(module: str, record_property: Callable[[str, object], None]) -> None:
    """BYD-5: each change of the module breaks a proof, but for those kept with their reason."""
    mutants: list[Mutant] = changed(module, None)[1]
    known = kept()
    with ThreadPoolExecutor(os.cpu_count()) as asking:
        alive = list(asking.map(lambda mutant: survives(module, mutant.index), mutants))
    survivors = [f"{module}: {mutant}" for mutant, lives in zip(mutants, alive, strict=True) if lives]
    record_property("figures", f"{module}: {len(mutants)} changes, {len(survivors)} survive")
    for survivor in survivors:
        record_property("figures", f"survives: `{survivor}`: {known.get(survivor, 'NO REASON')}")
    unknown = [survivor for survivor in survivors if survivor not in known]
    assert not unknown, "\n".join(unknown)
