"""What REST says about a stop: each endpoint's word and, per pump, what is published, echoed and measured (EST-1)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

import msgspec

from actors.messages import EndpointStatus, PublishedPump, StopConfirmed
from actors.safety.latch import covers
from actors.vocabulary import Instant, InvalidValueError, Scope, SiteConfig, Topology
from actors.vocabulary.records import StopEventRecord

_TEXT_MAX: Final = 500
# The wire's resolution is 0.01 Hz; a controller that rounds differs by one step.
_ECHO_TOLERANCE_HZ: Final = 0.011
_STOPPED_HZ: Final = 0.5


class EndpointAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """What one endpoint said to a stop or a clear."""

    endpoint: str
    published: bool
    durable: bool
    detail: str = ""


class StoppedPump(msgspec.Struct, frozen=True, kw_only=True):
    """A covered pump at one endpoint. `echoed`, `stopped`: None until its controller wrote since the stop."""

    pump_id: str
    endpoint: str
    published_hz: float
    run_inhibit: bool
    echoed: bool | None
    stopped: bool | None


class StopAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to a stop: `durable` on this node's disk, and what each endpoint and pump showed at that moment."""

    stop_id: str
    scope: Scope
    scope_id: str
    durable: bool
    endpoints: list[EndpointAnswer]
    pumps: list[StoppedPump]
    detail: str = ""


class ClearAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """Which stops are cleared, and each endpoint's word."""

    cleared: list[str]
    endpoints: list[EndpointAnswer]


def endpoint_answer(endpoint: str, answer: StopConfirmed | str, stop_ids: tuple[str, ...]) -> EndpointAnswer:
    """Return an endpoint's answer as shown; text is the reason why there is none."""
    if isinstance(answer, str):
        return EndpointAnswer(endpoint=endpoint, published=False, durable=False, detail=answer)
    took = set(stop_ids) <= set(answer.stop_ids)
    detail = "" if answer.published else "it has no port, or no broker, yet"
    if not took:
        detail = "it confirmed other stops"
    return EndpointAnswer(
        endpoint=endpoint, published=answer.published and took, durable=answer.durable and took, detail=detail
    )


def stopped_pumps(
    stop: StopEventRecord, topology: Topology, statuses: Mapping[str, EndpointStatus | str]
) -> list[StoppedPump]:
    """Return every covered pump at every endpoint that answered, in the order of the plant."""
    shown = {
        (endpoint, pump.pump_id): pump
        for endpoint, status in statuses.items()
        if not isinstance(status, str)
        for pump in status.pumps
    }
    return [
        _stopped(stop, endpoint, shown[endpoint, pump_id])
        for _, pump_id in _covered(stop, topology)
        for endpoint in statuses
        if (endpoint, pump_id) in shown
    ]


def shows_stop(stop: StopEventRecord, endpoint: str, status: EndpointStatus | str) -> EndpointAnswer:
    """Return whether an endpoint shows a stop right now; its disk's word was given when it was set."""
    if isinstance(status, str):
        return EndpointAnswer(endpoint=endpoint, published=False, durable=False, detail=status)
    has = stop.record_id in status.stops_active
    detail = "" if has else "it does not hold this stop"
    return EndpointAnswer(endpoint=endpoint, published=has and status.bound != "", durable=has, detail=detail)


def concerned(site: SiteConfig, stop: StopEventRecord) -> bool:
    """Say whether a stop concerns any part of a site (a scope that the site does not know concerns it not)."""
    match stop.scope:
        case Scope.SYSTEM:
            return True
        case Scope.SITE:
            return site.site_id == stop.scope_id
        case Scope.STATION:
            return site.station(stop.scope_id) is not None
        case Scope.PUMP:
            return any(station.pump(stop.scope_id) is not None for station in site.stations)


def checked_text(name: str, value: str) -> str:
    """Return `value` without surrounding space.

    Raises:
        InvalidValueError: it is empty, too long or not printable.

    """
    text = value.strip()
    if not text or len(text) > _TEXT_MAX or not text.isprintable():
        message = f"{name}: {value[:60]!r}, expected 1 to {_TEXT_MAX} printable characters"
        raise InvalidValueError(message)
    return text


def _covered(stop: StopEventRecord, topology: Topology) -> Iterator[tuple[str, str]]:
    for site in topology.sites:
        for station in site.stations:
            for pump in station.pumps:
                if covers(stop, site.site_id, station.station_id, pump.pump_id):
                    yield station.station_id, pump.pump_id


def _stopped(stop: StopEventRecord, endpoint: str, pump: PublishedPump) -> StoppedPump:
    echoed = _since(stop, pump.echo_at, pump.echo_hz)
    measured = _since(stop, pump.measured_at, pump.measured_hz)
    return StoppedPump(
        pump_id=pump.pump_id,
        endpoint=endpoint,
        published_hz=pump.setpoint_hz,
        run_inhibit=pump.run_inhibit,
        echoed=None if echoed is None else abs(echoed - pump.setpoint_hz) <= _ECHO_TOLERANCE_HZ,
        stopped=None if measured is None else measured <= _STOPPED_HZ,
    )


def _since(stop: StopEventRecord, at: Instant | None, value_hz: float | None) -> float | None:
    """Return a controller's value if it was written since the stop: an older one says nothing about it."""
    if at is None or value_hz is None or at.utc < stop.set_at:
        return None
    return value_hz
