"""`GET /api/v1/stream`: what changes, as server-sent events; the same path speaks WebSocket (`api.stream.sockets`)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from functools import partial
from typing import Annotated, Any, Final

from litestar import Request, get
from litestar.connection import ASGIConnection
from litestar.datastructures import State
from litestar.params import HeaderParameter, QueryParameter
from litestar.response import Stream

from actors.vocabulary.access import Operation
from actors.vocabulary.ids import checked_id
from actors.vocabulary.users import Principal
from api.access.errors import ForbiddenError
from api.access.guarding import needs, principal_of
from api.access.identity import identified
from api.handling import peer_of, service_of
from api.service import Service
from api.sources import find_pump, find_station
from api.stream.subscription import Subscription, Told
from api.stream.topics import Filter, not_allowed, topics_of

PATH: Final = "/api/v1/stream"
EVENT_STREAM: Final = "text/event-stream"
# A browser comes back so soon after a lost connection (ms).
_RETRY: Final = b"retry: 1000\n\n"

Topics = Annotated[
    str,
    QueryParameter(
        description="comma-separated topics; empty: all that you may watch (setpoints, feedback, modes, stations,"
        " stops, failsafes, alarms, tree)",
        max_length=200,
    ),
]
SiteId = Annotated[str, QueryParameter(description="pumps and stations of this site only", max_length=40)]
StationId = Annotated[str, QueryParameter(description="pumps and level of this station only", max_length=40)]
PumpId = Annotated[str, QueryParameter(description="this pump only", max_length=40)]
LastEventId = Annotated[
    str,
    QueryParameter(
        name="last_event_id", description="as the header Last-Event-ID, which counts more", max_length=100
    ),
]


@get(
    "/stream",
    summary="What changes, as server-sent events or by WebSocket",
    opt=needs(Operation.READ_POINTS),
    media_type=EVENT_STREAM,
)
async def stream(  # noqa: PLR0917  (a filter each, by name in the query)
    request: Request[Any, Any, State],
    state: State,
    topics: Topics = "",
    site_id: SiteId = "",
    station_id: StationId = "",
    pump_id: PumpId = "",
    last_event_id: LastEventId = "",
    resume_from: Annotated[
        str, HeaderParameter(name="Last-Event-ID", description="the last event that arrived", max_length=100)
    ] = "",
) -> Stream:
    """Tell `hello`, then a `snapshot` (or, resumed, what was missed), then each change of a topic, and heartbeats.

    A change holds whole rows (`changed`) and the keys of rows that are gone (`removed`). `gap` says that the event to
    resume from is no longer known, a snapshot follows. `overrun` (too slow) and `ended` (the session is over, a right
    was taken away, the API ends) are the last event of a stream.
    """
    service = service_of(state)
    wanted = await filter_of(
        service,
        principal_of(request),
        topics=topics,
        site_id=site_id,
        station_id=station_id,
        pump_id=pump_id,
    )
    watching = subscribed(service, request, principal_of(request), wanted, resume_from or last_event_id)
    # A proxy that gathers an answer before it passes it on would make a stream of it that stands still.
    return Stream(_lines(watching.told()), media_type=EVENT_STREAM, headers={"X-Accel-Buffering": "no"})


async def filter_of(
    service: Service, principal: Principal, *, topics: str, site_id: str, station_id: str, pump_id: str
) -> Filter:
    """Return what is asked for.

    Raises:
        InvalidValueError: a topic or an id is none.
        UnknownSubjectError: there is no such pump or station.
        ForbiddenError: the asker may not watch a topic.

    """
    chosen = topics_of(topics, principal)
    if lost := not_allowed(chosen, principal):
        raise ForbiddenError(f"{principal.role.value} may not watch {lost}")
    site_id, station_id, pump_id = (
        checked_id(each, place=place) if each else ""
        for each, place in ((site_id, "site_id"), (station_id, "station_id"), (pump_id, "pump_id"))
    )
    if pump_id or station_id:
        topology = await service.sources.topology()
        if station_id:
            find_station(topology, station_id)
        if pump_id:
            station_id = find_pump(topology, pump_id)[1].station_id
    return Filter(topics=chosen, site_id=site_id, station_id=station_id, pump_id=pump_id)


def subscribed(
    service: Service,
    connection: ASGIConnection[Any, Any, Any, Any],
    principal: Principal,
    wanted: Filter,
    last_event_id: str,
) -> Subscription:
    """Return a place among those who watch.

    Raises:
        TooManyError: there is none left; that is audited.

    """
    return service.watching.subscribe(
        principal,
        wanted,
        identify=partial(
            identified, service.access.desk, connection, Operation.READ_POINTS, peer=peer_of(connection)
        ),
        peer=peer_of(connection),
        last_event_id=last_event_id,
    )


async def _lines(told: AsyncIterator[Told]) -> AsyncIterator[bytes]:
    yield _RETRY
    async for each in told:
        number = f"id: {each.event_id}\n".encode() if each.event_id else b""
        # The data is JSON of one line.
        yield b"event: " + each.event.encode() + b"\n" + number + b"data: " + each.data + b"\n\n"


STREAM_HANDLERS: Final = [stream]
