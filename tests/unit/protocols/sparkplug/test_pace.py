"""How often the node is born again: one host that asks gets what it asks for, a host in a loop starves nobody."""

from __future__ import annotations

from itertools import pairwise

from protocols.sparkplug.pace import BIRTH_S_MAX, RebirthPace


def births(*, asks_every_s: float, for_s: float) -> tuple[list[float], list[str]]:
    """Play a host that asks on and on, looked at every 0.25 s; return when births were made, and what was told."""
    pace, made, told = RebirthPace(), [0.0], []
    pace.born(0.0)
    now_s, asked_s = 10.0, 0.0
    while now_s < for_s:
        if now_s - asked_s >= asks_every_s:
            pace.asked, asked_s = True, now_s
        if pace.grants(now_s) and pace.may_be_born(now_s):
            told.append(pace.born(now_s))
            made.append(now_s)
        now_s += 0.25
    return made, [text for text in told if text]


def test_a_host_that_asks_now_and_then_is_served_at_once() -> None:
    """SPB-1: at most a look later."""
    made, told = births(asks_every_s=60.0, for_s=600.0)
    assert all(later - earlier <= 60.25 for earlier, later in pairwise(made[1:]))
    assert told == []


def test_a_host_in_a_loop_gets_births_ever_more_rarely_and_is_told_of_once() -> None:
    """SPB-1: 1, 2, 4 ... 30 s apart."""
    made, told = births(asks_every_s=0.25, for_s=300.0)
    apart = [later - earlier for earlier, later in pairwise(made[1:])]
    assert apart[:5] == [1.0, 2.0, 4.0, 8.0, 16.0]
    assert set(apart[5:]) == {BIRTH_S_MAX}
    assert len(told) == 1


def test_after_a_calm_it_begins_anew() -> None:
    """SPB-1: a loop that ended is forgotten."""
    pace = RebirthPace()
    for second in (0.0, 1.0, 2.0, 4.0, 8.0):
        pace.asked = True
        pace.born(second)
    assert pace.interval_s > 4.0
    pace.asked = True
    assert not pace.grants(8.5)
    pace.born(8.0 + 100.0)
    assert pace.interval_s == 1.0


def test_data_stops_for_a_first_request_and_goes_on_in_a_storm() -> None:
    """SPB-1: tck-id-operational-behavior-data-commands-rebirth-action-1, as far as a host is not in a loop."""
    pace = RebirthPace()
    pace.born(0.0)
    assert not pace.grants(0.1), "nobody asked"
    pace.asked = True
    assert pace.grants(0.1)
    assert not pace.may_be_born(0.1)
    pace.born(1.0)
    pace.asked = True
    assert not pace.grants(1.5)
