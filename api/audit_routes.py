"""`/api/v1/audit`: the trail searched, verified and exported by pages; nothing here changes it (AUD-1)."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Final, NamedTuple

import msgspec
from litestar import Request, Response, get
from litestar.datastructures import State
from litestar.params import QueryParameter

from actors.stores import AuditReader
from actors.vocabulary import InvalidValueError, UnavailableError
from actors.vocabulary.access import Operation
from actors.vocabulary.audit_events import EVENT_TYPES, clauses_of
from actors.vocabulary.audit_trail import SEARCH_MAX, AuditQuery, AuditWindow
from api.access.guarding import by_of, needs
from api.choices import Since, Until, moment, words
from api.handling import peer_of, service_of
from api.paging import Cursor, Page, answer, link_headers, number_of, sealed

VERIFY_MAX: Final = 10_000
"""Records verified in one request."""
EXPORT_MAX: Final = 5_000
"""Records exported in one request."""
_LINES: Final = "application/x-ndjson"
_SEQUENCE_MAX: Final = 2**53
_NAME: Final = re.compile(r"[A-Z][A-Z_]{0,63}")

_After = Annotated[
    int, QueryParameter(name="after", description="behind this record", ge=0, le=_SEQUENCE_MAX)
]


class AuditEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One record as it stands; `before` and `after` are canonical JSON as text, as they are hashed."""

    sequence: int
    at: str
    event_type: str
    actor: str
    source_address: str
    object_id: str
    outcome: str
    severity: str
    before: str | None
    after: str | None
    correlation_id: str
    record_id: str
    previous_hash: str
    hash: str
    clauses: str
    format: int


class Found(NamedTuple):
    """A page of a search, newest first; `next_before`: the next one is older than this record, None: there is none."""

    records: list[AuditEntry]
    next_before: int | None


class AuditEvent(msgspec.Struct, frozen=True, kw_only=True):
    """One event type of the table."""

    event_type: str
    meaning: str
    category: str
    severity: str
    clauses: list[str]


@get("/audit", summary="Search the audit trail, newest first", opt=needs(Operation.READ_AUDIT))
async def search(  # noqa: PLR0913  (a filter each, by name in the query)
    request: Request[Any, Any, State],
    state: State,
    *,
    event_type: Annotated[
        str, QueryParameter(description="comma-separated event types; empty: all", max_length=2000)
    ] = "",
    severity: Annotated[
        str, QueryParameter(description="comma-separated severities; empty: all", max_length=100)
    ] = "",
    actor: Annotated[str, QueryParameter(description="who, whole", max_length=200)] = "",
    source_address: Annotated[
        str, QueryParameter(description="where from, its beginning", max_length=200)
    ] = "",
    object_id: Annotated[str, QueryParameter(description="such as PUMP:p1, whole", max_length=400)] = "",
    outcome: Annotated[
        str, QueryParameter(description="its beginning, such as success or refused", max_length=200)
    ] = "",
    correlation_id: Annotated[str, QueryParameter(description="whole", max_length=200)] = "",
    containing: Annotated[
        str, QueryParameter(name="text", description="in object, outcome, before or after", max_length=200)
    ] = "",
    since: Since = "",
    until: Until = "",
    cursor: Cursor = "",
    limit: Annotated[int, QueryParameter(description="records in a page", ge=1, le=SEARCH_MAX)] = 100,
) -> Response[list[AuditEntry]]:
    """Show what happened, who did it, from where, to what, and what came of it."""
    entries, next_before = await searched(
        state,
        event_type=event_type,
        severity=severity,
        actor=actor,
        source_address=source_address,
        object_id=object_id,
        outcome=outcome,
        correlation_id=correlation_id,
        text=containing,
        since=since,
        until=until,
        before=number_of(cursor),
        limit=limit,
    )
    return answer(request, Page(entries, "" if next_before is None else sealed(str(next_before))))


async def searched(
    state: State,
    *,
    event_type: str = "",
    severity: str = "",
    since: str = "",
    until: str = "",
    before: int | None = None,
    limit: int = 100,
    **whole: str,
) -> Found:
    """Return a page of a search. `whole`: what is compared as text, as in `AuditQuery`.

    Raises:
        InvalidValueError: a word or a moment is none.
        DeviceError: the trail cannot be read.

    """
    trail = _trail(state)
    query = AuditQuery(
        event_types=_words(event_type, what="event_type"),
        severities=_words(severity, what="severity"),
        since=moment(since, what="since"),
        until=moment(until, what="until"),
        before=before,
        limit=limit,
        **whole,
    )

    async def made() -> Found:
        page = await trail.search(query)
        return Found([_entry(record) for record in page.records], page.next_before)

    return await service_of(state).questions.ask(query, made)


@get(
    "/audit/events",
    sync_to_thread=False,
    summary="Every event type with its meaning and clauses",
    opt=needs(Operation.READ_AUDIT),
)
def events() -> list[AuditEvent]:
    """Show the table of event types (AUD-2)."""
    return [
        AuditEvent(
            event_type=name,
            meaning=event.meaning,
            category=event.category.value,
            severity=event.severity.value,
            clauses=clauses_of(name).split(),
        )
        for name, event in EVENT_TYPES.items()
    ]


@get(
    "/audit/verify",
    summary="Does the chain hold? A window of it, against every checkpoint in it",
    opt=needs(Operation.READ_AUDIT),
)
async def verify(
    state: State,
    after: _After = 0,
    limit: Annotated[int, QueryParameter(description="records", ge=1, le=VERIFY_MAX)] = VERIFY_MAX,
) -> AuditWindow:
    """Verify records behind `after`; go on with `next_after` until it is null (`calejo audit verify` does all)."""
    return await _trail(state).verify(after=after, count_max=limit)


@get(
    "/audit/export/records",
    media_type=_LINES,
    summary="Records as an export holds them, oldest first",
    opt=needs(Operation.READ_AUDIT),
)
async def export_records(
    request: Request[Any, Any, State],
    state: State,
    *,
    after: _After = 0,
    cursor: Cursor = "",
    limit: Annotated[int, QueryParameter(description="records", ge=1, le=EXPORT_MAX)] = EXPORT_MAX,
) -> Response[bytes]:
    """Export records as JSON lines: `records.jsonl`, a page at a time; the first begins behind `after`.

    That an export begins is itself a record (AUDIT_EXPORTED); pages that go on from the last one are not.
    """
    place = number_of(cursor)
    begin = after if place is None else place
    records = await _trail(state).records(after=begin, count_max=limit)
    if records:
        service_of(state).exports.page(
            actor=by_of(request, ""),
            peer=peer_of(request),
            after=begin,
            first=records[0]["sequence"],
            last=records[-1]["sequence"],
        )
    made = _jsonl(records)
    # A full page may be the last: then the next one is empty.
    following = sealed(str(records[-1]["sequence"])) if len(records) == limit else ""
    made.headers.update(link_headers(request, following))
    return made


@get(
    "/audit/export/checkpoints",
    media_type=_LINES,
    summary="The signed checkpoints of this machine",
    opt=needs(Operation.READ_AUDIT),
)
async def export_checkpoints(state: State) -> Response[bytes]:
    """Export `checkpoints.jsonl`: keep it where nobody who can change this machine can change it."""
    return _jsonl(msgspec.to_builtins(each) for each in await _trail(state).checkpoints())


@get(
    "/audit/export/keys",
    media_type=_LINES,
    summary="The public keys that sign checkpoints",
    opt=needs(Operation.READ_AUDIT),
)
async def export_keys(state: State) -> Response[bytes]:
    """Export `keys.jsonl`."""
    return _jsonl(msgspec.to_builtins(each) for each in await _trail(state).keys())


def _trail(state: State) -> AuditReader:
    reader = service_of(state).audit
    if reader is None:
        raise UnavailableError("the audit trail cannot be read here")
    return reader


def _jsonl(entries: Iterable[Mapping[str, Any]]) -> Response[bytes]:
    lines = (
        json.dumps(entry, sort_keys=True, separators=(",", ":"), default=repr) + "\n" for entry in entries
    )
    return Response("".join(lines).encode("ascii"), media_type=_LINES)


def _entry(record: Mapping[str, Any]) -> AuditEntry:
    # Not decoded: what somebody put into the database past Calejo is shown as it stands.
    return AuditEntry(**record)


def _words(text: str, *, what: str) -> tuple[str, ...]:
    """Return comma-separated names; not only those of our table: the trail may hold others."""
    found = tuple(word.upper() for word in words(text, what=what))
    for word in found:
        if _NAME.fullmatch(word) is None:
            raise InvalidValueError(f"{what}: {word[:60]!r}, expected letters and underscores")
    return found


AUDIT_HANDLERS: Final = [search, events, verify, export_records, export_checkpoints, export_keys]
