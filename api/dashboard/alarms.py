"""Alarms as people see them: which stand, which wait to be seen, in what order, at which object; pure (ALM-1)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

import msgspec

from actors.alarm.lifecycle import AlarmState
from actors.messages import AlarmView
from actors.publisher.site_alarms import places_of, source_of
from actors.vocabulary import Severity, SiteConfig

WORST_FIRST: Final = (Severity.CRITICAL, Severity.HIGH, Severity.MEDIUM, Severity.LOW)
STANDING: Final = frozenset({AlarmState.UNACKNOWLEDGED.value, AlarmState.ACKNOWLEDGED.value})
"""States of an alarm whose condition holds, seen by somebody or not."""
UNSEEN: Final = frozenset({AlarmState.UNACKNOWLEDGED.value, AlarmState.RETURNED_UNACKNOWLEDGED.value})
"""States that wait for somebody to acknowledge."""

_SITES: Final = "/sites/"
_RANKS: Final = {severity: rank for rank, severity in enumerate(WORST_FIRST)}


def stands(alarm: AlarmView) -> bool:
    """Say whether its condition holds."""
    return alarm.state in STANDING


def waits(alarm: AlarmView) -> bool:
    """Say whether nobody has acknowledged it yet."""
    return alarm.state in UNSEEN


def in_order(alarms: Iterable[AlarmView]) -> tuple[AlarmView, ...]:
    """Return those that stand first, the worst of them first, then those that nobody has seen, then the newest."""
    return tuple(sorted(alarms, key=_order))


def _order(alarm: AlarmView) -> tuple[bool, int, bool, int]:
    standing = stands(alarm)
    return (
        not standing,
        _RANKS[alarm.severity] if standing else 0,
        not waits(alarm),
        -alarm.raised_at.utc_ns,
    )


class Place(msgspec.Struct, frozen=True):
    """What an alarm is about: a site, and in it '' itself, `s1` a station, `s1/p1` a pump."""

    site_id: str
    within: str


def placed(alarms: Iterable[AlarmView], sites: Iterable[SiteConfig]) -> dict[str, Place]:
    """Return where alarms are, by their ids, as on every wire.

    What the platform below all sites has to say is nowhere: the strip counts it, and no site is worse for it.
    """
    every = {site.site_id: (site, places_of(site)) for site in sites}
    owners = {name: site_id for site_id, (_, places) in every.items() for name in places}
    found: dict[str, Place] = {}
    for alarm in alarms:
        subject = _plain(alarm.subject, owners)
        held = every.get(_owner(subject, owners))
        path = None if held is None else source_of(subject, *held)
        if held is not None and path is not None:
            within = path.removeprefix(f"/{held[0].site_id}").removeprefix("/")
            found[alarm.alarm_id] = Place(held[0].site_id, within)
    return found


def _plain(subject: str, owners: Mapping[str, str]) -> str:
    """Return what a subject is about: of `modbus:p1`, which is p1 as one endpoint shows it, the pump."""
    scope, _, within = subject.partition(":")
    return within if subject not in owners and scope.isalpha() and f"pump:{within}" in owners else subject


def _owner(subject: str, owners: Mapping[str, str]) -> str:
    """Return the site that a subject names, itself or a part of it; '' for none."""
    if subject.startswith(_SITES):
        return subject[len(_SITES) :].partition("/")[0]
    named = (subject, *(f"{kind}:{subject}" for kind in ("pump", "station", "site")))
    return next((owners[name] for name in named if name in owners), "")


def part_of(subject: str) -> str:
    """Return which part of an object an alarm is about, '' for the object itself: `plan`, `modbus`."""
    scope, colon, _ = subject.partition(":")
    if colon:
        return "" if scope in {"pump", "station", "site"} else scope
    return subject.rpartition("/")[2] if subject.startswith(_SITES) else ""


def by_object(
    alarms: Iterable[AlarmView], places: Mapping[str, Place], site_id: str
) -> Mapping[str, tuple[AlarmView, ...]]:
    """Return the alarms of a site that stand, by what in it they are about."""
    found: dict[str, tuple[AlarmView, ...]] = {}
    for alarm in alarms:
        place = places.get(alarm.alarm_id)
        if place is not None and place.site_id == site_id and stands(alarm):
            found[place.within] = (*found.get(place.within, ()), alarm)
    return found
