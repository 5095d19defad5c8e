"""Who gives way to a newcomer in a full house; pure.

A controller that reconnects and a coil that stops pumps must get in whoever else is there, and nobody knows what a
newcomer wants before it has asked. So there always is a place, and the question is only whose.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum, unique
from typing import Protocol, TypeVar

from protocols.modbus.limits import ModbusLimits


class Guest(Protocol):
    """What is known of a client; times in seconds of one clock."""

    requests: int
    came_s: float
    heard_s: float
    wrote_s: float | None


G = TypeVar("G", bound=Guest)


@unique
class Standing(IntEnum):
    """How a client stands; who stands lower goes first."""

    UNHEARD = 0
    SILENT = 1
    READING = 2
    WRITING = 3


def standing(guest: Guest, limits: ModbusLimits, *, now_s: float) -> Standing:
    """Judge one client. One that has just come counts as reading until it is heard."""
    if not guest.requests:
        return Standing.READING if _has_just_come(guest, limits, now_s=now_s) else Standing.UNHEARD
    if now_s - guest.heard_s > limits.evict_silent_s:
        return Standing.SILENT
    return Standing.READING if guest.wrote_s is None else Standing.WRITING


def who_gives_way(guests: Iterable[G], limits: ModbusLimits, *, now_s: float) -> G | None:
    """Return the client whose place a newcomer gets; None: those whose turn it would be have only just come.

    Only the last `places_in_turn` of the order are in question, so that a crowd of newcomers does not turn out
    those who work. Silent clients go first, the longest silent before; then those that only read, of these the
    one that has been in turn the longest, so that each newcomer has some time to show that it writes; then the
    one that has not written for the longest.
    """
    judged = [(standing(guest, limits, now_s=now_s), guest) for guest in guests]
    order = sorted(judged, key=lambda pair: (-pair[0], _seniority(*pair)))
    in_turn = [
        pair
        for pair in order[max(0, limits.clients_max - limits.places_in_turn) :]
        # A request may be on its way, and it may be a stop.
        if not _has_just_come(pair[1], limits, now_s=now_s)
    ]
    if not in_turn:
        return None
    lowest = min(rank for rank, _ in in_turn)
    of_lowest = [guest for rank, guest in in_turn if rank is lowest]
    return of_lowest[0] if lowest is Standing.READING else of_lowest[-1]


def _has_just_come(guest: Guest, limits: ModbusLimits, *, now_s: float) -> bool:
    return not guest.requests and now_s - guest.came_s <= limits.evict_unheard_s


def _seniority(rank: Standing, guest: Guest) -> float:
    """Return what orders clients of one standing: the smaller, the safer."""
    match rank:
        case Standing.READING:
            return guest.came_s
        case Standing.WRITING:
            assert guest.wrote_s is not None
            return -guest.wrote_s
        case Standing.SILENT | Standing.UNHEARD:
            return -guest.heard_s
