"""Which alarms are a site's own, and at which of its objects each is shown; pure (OPC-3, ALM-1)."""

from __future__ import annotations

from typing import Final

from actors.alarm.lifecycle import AlarmState
from actors.messages import Alarms, AlarmView
from actors.vocabulary import SiteConfig
from actors.vocabulary.client_calls import ShownAlarm, ShownAlarms

_SITES: Final = "/sites/"
_SCOPES: Final = frozenset({"pump", "station", "site"})
# Subjects of the platform, which every site stands on: shown at each site's own object.
_PLATFORM: Final = frozenset({"storage", "discovery", "system", "alarm", "api", "database"})
_TEXT_MAX: Final = 1_000
_SEEN: Final = frozenset({AlarmState.ACKNOWLEDGED.value, AlarmState.NORMAL.value})


def shown_alarms(told: Alarms, site: SiteConfig) -> ShownAlarms:
    """Return the alarms of a site and of the platform below it, in the list's order."""
    places = places_of(site)
    found = []
    for alarm in told.alarms:
        source = source_of(alarm.subject, site, places)
        if source is not None:
            found.append(_shown(alarm, source))
    return ShownAlarms(alarms=tuple(found), whole=told.whole)


def source_of(subject: str, site: SiteConfig, places: dict[str, str] | None = None) -> str | None:
    """Return the path of the object that an alarm is about; None: it is another site's.

    Subjects are ids, ids with their scope (`pump:p1`), addresses of actors, or words of the platform. What names no
    object of ours and no other site's is shown at the site: rather one alarm too many than one too few.
    """
    known = places_of(site) if places is None else places
    own = f"/{site.site_id}"
    if subject.startswith(_SITES):
        parts = subject[len(_SITES) :].split("/")
        if parts[0] != site.site_id:
            return None
        # /sites/SITE/stations/STATION/pumps/PUMP, or a part of any of these.
        ids = [parts[at + 1] for at, word in enumerate(parts[:-1]) if word in {"stations", "pumps"}]
        path = "/".join((own, *ids))
        return path if path in known.values() else own
    if subject.startswith("/") or subject in _PLATFORM:
        return own
    scope, colon, scope_id = subject.partition(":")
    if colon and scope in _SCOPES:
        return known.get(f"{scope}:{scope_id}")
    for kind in ("pump", "station", "site"):
        if (path_ := known.get(f"{kind}:{subject}")) is not None:
            return path_
    return None if _is_bare_id(subject) else own


def _is_bare_id(subject: str) -> bool:
    return bool(subject) and all(each.isalnum() or each in "_-" for each in subject)


def places_of(site: SiteConfig) -> dict[str, str]:
    """Return the path of each object of a site by its scope and id (`pump:p1`): what `source_of` looks in."""
    own = f"/{site.site_id}"
    places = {f"site:{site.site_id}": own}
    for station in site.stations:
        places[f"station:{station.station_id}"] = f"{own}/{station.station_id}"
        for pump in station.pumps:
            places[f"pump:{pump.pump_id}"] = f"{own}/{station.station_id}/{pump.pump_id}"
    return places


def _wire_text(text: str) -> str:
    """Return a text that any wire can carry: what quotes a broken row may hold no characters, or very many."""
    return text[:_TEXT_MAX].encode("utf-8", "replace").decode("utf-8")


def _shown(alarm: AlarmView, source: str) -> ShownAlarm:
    return ShownAlarm(
        alarm_id=alarm.alarm_id,
        condition=alarm.condition,
        subject=alarm.subject,
        source=source,
        severity=alarm.severity,
        text=_wire_text(alarm.text),
        active=alarm.returned_at is None,
        acknowledged=alarm.state in _SEEN,
        occurrences=alarm.occurrences,
        raised_utc_ns=alarm.raised_at.utc_ns,
        returned_utc_ns=None if alarm.returned_at is None else alarm.returned_at.utc_ns,
        acknowledged_utc_ns=None if alarm.acknowledged_at is None else alarm.acknowledged_at.utc_ns,
        acknowledged_by=alarm.acknowledged_by,
        comment=alarm.comment,
    )
