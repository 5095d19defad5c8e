"""Every invariant in every case of every space: a slice in `make test`, nearly all in `make prove`, all with LONG=1."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from itertools import islice
from multiprocessing import get_context
from typing import Final

import pytest

from tests.proof.invariants import OF_A_PUMP, OF_THE_STATION
from tests.proof.search import PROVED_CASES, QUICK_CASES, findings, found_on_every_core
from tests.proof.spaces import PUMP, SPACES, STATION, Space

CORES: Final = os.cpu_count() or 1
Note = Callable[[str, object], None]
each_space = pytest.mark.parametrize("space", SPACES, ids=lambda space: space.name)


def check(space: Space, indices: object) -> None:
    found = list(islice(findings(space, indices), 5))  # type: ignore[arg-type]
    assert not found, "\n" + "\n".join(map(str, found))


@each_space
def test_a_slice_of_every_space_keeps_every_invariant(space: Space) -> None:
    """SAF-1, SAF-2, SAF-3, BYD-5: no case of the slice breaks an invariant."""
    check(space, space.indices(QUICK_CASES))


@pytest.fixture(scope="module")
def workers() -> Iterator[ProcessPoolExecutor]:
    with ProcessPoolExecutor(CORES, mp_context=get_context("spawn")) as pool:
        yield pool
        pool.shutdown(cancel_futures=True)


@pytest.mark.prove
@pytest.mark.timeout(3600)
@each_space
def test_every_case_keeps_every_invariant(
    space: Space, workers: ProcessPoolExecutor, record_property: Note
) -> None:
    """BYD-5: no case of the discretised space breaks an invariant; of the largest ones an even part is asked."""
    cases = min(space.size, PROVED_CASES)
    record_property("figures", f"{space.name}: {cases:,} of {space.size:,} cases ({space.about})")
    found = found_on_every_core(space, cases, workers, CORES)
    assert not found, "\n" + "\n".join(found)


@pytest.mark.endless
@pytest.mark.timeout(14_400)
@pytest.mark.parametrize(
    "space", [space for space in SPACES if space.size > PROVED_CASES], ids=lambda space: space.name
)
def test_every_case_of_the_largest_spaces_keeps_every_invariant(
    space: Space, workers: ProcessPoolExecutor, record_property: Note
) -> None:
    """BYD-5: the largest spaces whole."""
    record_property("figures", f"{space.name}: all of {space.size:,} cases")
    found = found_on_every_core(space, None, workers, CORES)
    assert not found, "\n" + "\n".join(found)


@each_space
def test_a_space_names_known_axes_and_its_slice_meets_every_value(space: Space) -> None:
    """BYD-5: an axis that is misspelt would silently stay at its usual value; a slice must not miss a value."""
    assert space.station.keys() <= STATION.keys()
    assert space.pump.keys() <= PUMP.keys()
    assert space.fixed.keys() <= {*STATION, *PUMP}
    met: dict[str, set[str]] = {}
    sampled = list(space.indices(QUICK_CASES))
    assert len(set(sampled)) == len(sampled)
    for index in sampled:
        for axis, value in space.point(index).items():
            met.setdefault(axis, set()).add(repr(value))
    assert {axis: len(values) for axis, values in met.items()} == {
        axis: len({repr(value) for value in values}) for axis, values in space.axes
    }


def test_every_invariant_says_what_it_means() -> None:
    """BYD-5: in words, with the requirement it is made from."""
    every = [*OF_A_PUMP, *OF_THE_STATION]
    assert len({invariant.__name__ for invariant in every}) == len(every)
    for invariant in every:
        assert invariant.__doc__ is not None
        assert invariant.__doc__[:3] in {"SAF", "CTL", "WDG", "EST"}, invariant.__name__
