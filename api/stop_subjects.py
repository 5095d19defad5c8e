"""Which part of the plant a stop is about: its scope checked, found, and brought to the sites that it concerns."""

from __future__ import annotations

from uuid import UUID

from actors.vocabulary import InvalidValueError, Scope, SiteConfig, Topology, UnknownSubjectError
from actors.vocabulary.ids import checked_id
from actors.vocabulary.records import StopEventRecord
from api.sources import find_pump, find_station
from api.stop_answers import concerned


def sites_of(records: tuple[StopEventRecord, ...], topology: Topology | None) -> list[SiteConfig]:
    """Return the sites that any of the records concerns; all of them if one concerns no site that we know."""
    if topology is None:
        # Nobody can be addressed; every gate watches the latch folder.
        return []
    if any(not holds(topology, record.scope, record.scope_id) for record in records):
        return list(topology.sites)
    return [site for site in topology.sites if any(concerned(site, record) for record in records)]


def holds(topology: Topology, scope: Scope, scope_id: str) -> bool:
    """Say whether a plant has what a scope names."""
    try:
        match scope:
            case Scope.SYSTEM:
                return True
            case Scope.SITE:
                return any(site.site_id == scope_id for site in topology.sites)
            case Scope.STATION:
                return bool(find_station(topology, scope_id))
            case Scope.PUMP:
                return bool(find_pump(topology, scope_id))
    except UnknownSubjectError:
        return False


def checked_uuid(name: str, value: str) -> str:
    """Return a UUID in its one spelling.

    Raises:
        InvalidValueError: it is none; the text names `name`.

    """
    try:
        return str(UUID(value))
    except ValueError as error:
        raise InvalidValueError(f"{name}: {value[:60]!r}, expected a UUID") from error


def checked_scope_id(scope: Scope, scope_id: str) -> str:
    """Return what a scope names, in its one spelling; the system has no name.

    Raises:
        InvalidValueError: it is no id, or the system was given one.

    """
    if scope is Scope.SYSTEM:
        if scope_id:
            raise InvalidValueError(f"scope_id: {scope_id[:60]!r}, expected none with scope SYSTEM")
        return ""
    return checked_id(scope_id, place="scope_id")
