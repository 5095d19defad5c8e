"""Searches a space: asks the kernel every case and every invariant about its answer; says the first that is broken."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final

from actors.safety import kernel
from tests.proof.invariants import Round, violations
from tests.proof.spaces import NOW, SPACES, Space

QUICK_CASES: Final = 2_500
"""So many cases of each space, spread over all its axes, are what `make test` asks."""
PROVED_CASES: Final = 600_000
"""So many of each space `make prove` asks, in most spaces all; `make prove LONG=1` asks the rest."""
FINDINGS_MAX: Final = 5
FIRST_CASES: Final = 250
"""Most defects show in the first few; where one is expected, these are asked in every space before the rest."""


@dataclass(frozen=True)
class Finding:
    """An invariant that does not hold, and the case that shows it."""

    invariant: str
    wrong: str
    space: str
    index: int
    point: dict[str, Any]

    def __str__(self) -> str:
        return f"{self.invariant}: {self.wrong}\n  case {self.index} of space {self.space!r}: {self.point}"


def answer(space: Space, index: int) -> Round:
    """Return one case with the kernel's answer to it."""
    given, before = space.case(index)
    decisions, after = kernel.decide_round(given, before, now=NOW)
    return Round(given=given, before=before, decisions=decisions, after=after, now=NOW)


def findings(space: Space, indices: Iterable[int]) -> Iterator[Finding]:
    """Yield all that is wrong in these cases."""
    for index in indices:
        for invariant, wrong in violations(answer(space, index)):
            yield Finding(invariant, wrong, space.name, index, space.point(index))


def found_in_share(space_name: str, cases: int | None, offset: int, stride: int) -> list[str]:
    """Search one share of a space (for a process of its own); return the first few things that are wrong."""
    space = next(space for space in SPACES if space.name == space_name)
    share = islice(space.indices(cases), offset, None, stride)
    return [str(finding) for finding in islice(findings(space, share), FINDINGS_MAX)]


def found_on_every_core(
    space: Space, cases: int | None, workers: ProcessPoolExecutor, count: int
) -> list[str]:
    """Search `cases` of a space (None: all), divided evenly."""
    # More shares than workers: one that is slow holds nobody up for long.
    stride = 8 * count
    shares = [workers.submit(found_in_share, space.name, cases, offset, stride) for offset in range(stride)]
    return [wrong for share in shares for wrong in share.result()][:FINDINGS_MAX]


def quick_finding() -> Finding | None:
    """Return something that is wrong in the quick slice of the spaces, None if nothing is."""
    for sample in (FIRST_CASES, QUICK_CASES):
        for space in SPACES:
            for finding in findings(space, space.indices(sample)):
                return finding
    return None
