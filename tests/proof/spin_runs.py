"""Runs spin on `fencing.pml`: as a check of every order of events, or as a random walk of some."""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from pathlib import Path
from typing import Final

MODEL: Final = Path(__file__).with_name("fencing.pml")
MEMORY_MB_MAX: Final = 6_000
DEPTH_MAX: Final = 1_000_000


@dataclass(frozen=True)
class Checked:
    """What a check came to; `broken` is the assertion that does not hold ('' if all do)."""

    broken: str
    complete: bool
    states: int
    seconds: float
    output: str


def check(
    spin: Path, folder: Path, defines: Sequence[str], *, depth: int = DEPTH_MAX, timeout_s: float = 3000.0
) -> Checked:
    """Look at every order of events down to `depth` steps; stop at the first that breaks an assertion."""
    given = [f"-D{define}" for define in defines]
    _done([spin, "-a", *given, MODEL], folder, timeout_s=60.0)
    quick = depth < DEPTH_MAX
    flags = [
        "-O1" if quick else "-O2",
        "-w",
        "-DSAFETY",
        "-DNOCLAIM",
        "-DCOLLAPSE",
        f"-DMEMLIM={MEMORY_MB_MAX}",
    ]
    _done(["gcc", *flags, "-o", "pan", "pan.c"], folder, timeout_s=120.0)
    began_s = time.monotonic()
    output = _done([folder / "pan", f"-m{depth}", "-w18" if quick else "-w24"], folder, timeout_s=timeout_s)
    seconds = time.monotonic() - began_s
    broken = re.search(r"pan:1: (.*) \(at depth", output)
    stored = re.search(r"(\d+) states, stored", output)
    assert stored is not None, output
    # What pan says when it did not look at everything: memory, depth or time ran out.
    cut = "Search not completed" in output or "max search depth too small" in output
    return Checked(
        broken="" if broken is None else broken[1],
        complete=broken is None and not cut,
        states=int(stored[1]),
        seconds=seconds,
        output=output,
    )


def walk(spin: Path, folder: Path, defines: Sequence[str], *, seed: int, steps: int) -> list[str]:
    """Walk through the model at random (`seed`) and return what it told of its steps."""
    given = [f"-D{define}" for define in defines]
    output = _done(
        [spin, f"-n{seed}", f"-u{steps}", "-T", *given, MODEL], folder, timeout_s=120.0, codes={0, 1}
    )
    assert "Error" not in output, output[-2000:]
    return [line.strip() for line in output.splitlines() if re.match(r"\s*[A-Z]+( |$)", line)]


def _done(
    command: Sequence[str | Path], folder: Path, *, timeout_s: float, codes: AbstractSet[int] = frozenset({0})
) -> str:
    done = subprocess.run(
        command,
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=timeout_s,
        check=False,
    )
    assert done.returncode in codes, f"{command}\n{done.stdout[-4000:]}"
    return done.stdout
