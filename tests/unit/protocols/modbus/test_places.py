"""Who gives way to a newcomer in a full house."""

from __future__ import annotations

import msgspec
import pytest

from protocols.modbus.limits import ModbusLimits
from protocols.modbus.places import who_gives_way

NOW_S = 1000.0
LIMITS = ModbusLimits(clients_max=6, places_in_turn=3, evict_unheard_s=0.1, evict_silent_s=5.0)


class Client(msgspec.Struct, kw_only=True):
    name: str
    requests: int = 1
    came_s: float = 0.0
    heard_s: float = NOW_S
    wrote_s: float | None = None


def reader(name: str, came_s: float) -> Client:
    return Client(name=name, came_s=came_s)


def writer(name: str, wrote_s: float) -> Client:
    return Client(name=name, wrote_s=wrote_s)


def silent(name: str, heard_s: float, wrote_s: float | None = None) -> Client:
    return Client(name=name, heard_s=heard_s, wrote_s=wrote_s)


def unheard(name: str, came_s: float) -> Client:
    return Client(name=name, requests=0, came_s=came_s, heard_s=came_s)


@pytest.mark.parametrize(
    ("guests", "leaves"),
    [
        # All read: the three that came last take turns, the one longest in turn goes.
        ([reader(f"r{came}", came) for came in range(6)], "r3"),
        # One that only reads goes before any that writes, however long ago that was.
        ([*(writer(f"w{age}", NOW_S - age) for age in range(5)), reader("r", 1)], "r"),
        ([*(writer(f"w{age}", NOW_S - 100 * age) for age in range(5)), reader("r", 1)], "r"),
        # All write: the one that has not written for the longest.
        ([writer(f"w{age}", NOW_S - age) for age in range(6)], "w5"),
        # A dead line goes before all who work, even if it wrote before.
        ([*(writer(f"w{age}", NOW_S - age) for age in range(4)), reader("r", 1), silent("s", 990, 990)], "s"),
        (
            [reader("r", 1), silent("s1", 990), silent("s2", 980), *(reader(f"r{n}", n) for n in (2, 3, 4))],
            "s2",
        ),
        # Who connected and asks nothing goes before the silent.
        ([*(reader(f"r{n}", n) for n in range(4)), silent("s", 990), unheard("u", NOW_S - 0.2)], "u"),
        # Who has only just come may be about to stop a pump: it stays, another goes.
        ([*(reader(f"r{n}", n) for n in range(5)), unheard("u", NOW_S - 0.05)], "r3"),
        # A flood of newcomers turns out nobody beyond the places in turn.
        (
            [*(writer(f"w{n}", NOW_S - n) for n in range(3)), *(unheard(f"u{n}", NOW_S) for n in range(3))],
            None,
        ),
        ([*(reader(f"r{n}", n) for n in range(3)), *(unheard(f"u{n}", NOW_S) for n in range(3))], None),
    ],
)
def test_who_gives_way(guests: list[Client], leaves: str | None) -> None:
    """MOD-4, EST-1: silent first, then who only reads, last who writes; the order of the set does not matter."""
    for order in (guests, guests[::-1], sorted(guests, key=lambda guest: guest.name)):
        leaving = who_gives_way(order, LIMITS, now_s=NOW_S)
        assert (None if leaving is None else leaving.name) == leaves


def test_a_small_house_gives_all_its_places_in_turn() -> None:
    """MOD-4: bounds that do not fit each other still leave a way in."""
    limits = ModbusLimits(clients_max=2, places_in_turn=8)
    leaving = who_gives_way([reader("a", 1), reader("b", 2)], limits, now_s=NOW_S)
    assert leaving is not None
    assert leaving.name == "a"
