"""Alarms as people see them: which stand, which wait to be seen, in what order, at which object; pure (ALM-1)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from actors.alarm.lifecycle import AlarmState
from actors.messages import AlarmView
from actors.publisher.site_alarms import places_of, source_of
from actors.vocabulary import Severity, SiteConfig

WORST_FIRST: Final = (Severity.CRITICAL, Severity.HIGH, Severity.MEDIUM, Severity.LOW)
STANDING: Final = frozenset({AlarmState.UNACKNOWLEDGED.value, AlarmState.ACKNOWLEDGED.value})
"""States of an alarm whose condition holds, seen by somebody or not."""
UNSEEN: Final = frozenset({AlarmState.UNACKNOWLEDGED.value, AlarmState.RETURNED_UNACKNOWLEDGED.value})
"""States that wait for somebody to acknowledge."""

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


def by_object(alarms: Iterable[AlarmView], site: SiteConfig) -> Mapping[str, tuple[AlarmView, ...]]:
    """Return the alarms of a site that stand, by what they are about: '' the site, `s1` a station, `s1/p1` a pump.

    What the platform below all sites has to say is nobody's: the strip counts it, and no site is worse for it.
    """
    places = places_of(site)
    own = f"/{site.site_id}"
    found: dict[str, tuple[AlarmView, ...]] = {}
    for alarm in alarms:
        path = source_of(alarm.subject, site, places) if stands(alarm) else None
        if path is None or (path == own and not _names(alarm.subject, site.site_id)):
            continue
        key = path.removeprefix(own).removeprefix("/")
        found[key] = (*found.get(key, ()), alarm)
    return found


def _names(subject: str, site_id: str) -> bool:
    """Say whether a subject is of a site by name, rather than shown there because it is nowhere else."""
    return subject in {site_id, f"site:{site_id}"} or f"{subject}/".startswith(f"/sites/{site_id}/")


def zone_of(subject: str, sites: Iterable[SiteConfig]) -> str | None:
    """Return the time zone of what an alarm is about: its station's, else its site's; None: it is of no one site."""
    for site in sites:
        path = source_of(subject, site)
        own = f"/{site.site_id}"
        if path is None or (path == own and not _names(subject, site.site_id)):
            continue
        station = site.station(path.removeprefix(own).removeprefix("/").partition("/")[0])
        return site.timezone if station is None else station.timezone
    return None
