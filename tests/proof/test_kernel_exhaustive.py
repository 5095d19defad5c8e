"""Every invariant in every case of every space: a slice of them in `make test`, all of them in `make prove`."""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice

import pytest

from tests.proof.invariants import OF_A_PUMP, OF_THE_STATION
from tests.proof.search import QUICK_CASES, findings
from tests.proof.spaces import PUMP, SPACES, STATION, Space

each_space = pytest.mark.parametrize("space", SPACES, ids=lambda space: space.name)


def check(space: Space, indices: object) -> None:
    found = list(islice(findings(space, indices), 5))  # type: ignore[arg-type]
    assert not found, "\n" + "\n".join(map(str, found))


@each_space
def test_a_slice_of_every_space_keeps_every_invariant(space: Space) -> None:
    """SAF-1, SAF-2, SAF-3, BYD-5: no case of the slice breaks an invariant."""
    check(space, space.indices(QUICK_CASES))


@pytest.mark.prove
@pytest.mark.timeout(3600)
@each_space
def test_every_case_keeps_every_invariant(
    space: Space, record_property: Callable[[str, object], None]
) -> None:
    """BYD-5: no case of the whole discretised space breaks an invariant."""
    record_property("figures", f"{space.name}: {space.size:,} cases ({space.about})")
    check(space, space.indices())


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
