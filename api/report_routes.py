"""`/api/v1/reports`: compliance reports from the audit trail, as JSON, HTML, CSV or PDF (AUD-3, API-2)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final

import msgspec
from litestar import Response, get
from litestar.datastructures import State
from litestar.params import PathParameter, QueryParameter

from actors.vocabulary import InvalidValueError, UnavailableError, UnknownSubjectError
from actors.vocabulary.access import Operation
from api.access.guarding import needs
from api.choices import Since, Until, moment
from api.handling import FORMS, service_of
from api.reports.desk import made
from api.reports.pdf_process import WITHIN_S, drawn
from api.reports.report import KINDS, Report, as_csv, as_html

_JSON: Final = "json"
_KINDS_OF_CONTENT: Final[Mapping[str, str]] = {
    _JSON: "application/json",
    "html": "text/html",
    "csv": "text/csv",
    "pdf": "application/pdf",
}
_FILES: Final = tuple(kind for form, kind in _KINDS_OF_CONTENT.items() if form != _JSON)
WHOLE: Final = "Calejo-Report-Whole"
# The trail is verified and read before anything is drawn.
DEADLINES_S: Final = {f"/api/v1/reports/{kind}": WITHIN_S + 10.0 for kind in KINDS}
"""How long each may take; the guard answers 503 after that."""


class ReportFact(msgspec.Struct, frozen=True, kw_only=True):
    """Something to know beside the rows: the period, what is missing, the state of the trail."""

    name: str
    value: str


class ReportRow(msgspec.Struct, frozen=True, kw_only=True):
    """One record; `change`: what differs between before and after."""

    sequence: str
    at: str
    severity: str
    event_type: str
    actor: str
    source_address: str
    object_id: str
    outcome: str
    change: str
    correlation_id: str
    clauses: str
    hash: str


class ReportView(msgspec.Struct, frozen=True, kw_only=True):
    """A report: rows oldest first; `counts` by event type."""

    title: str
    facts: list[ReportFact]
    counts: dict[str, int]
    rows: list[ReportRow]


class ReportKind(msgspec.Struct, frozen=True, kw_only=True):
    """One kind of report, and the event types that are in it."""

    kind: str
    title: str
    event_types: list[str]


@get(
    "/reports",
    sync_to_thread=False,
    summary="The kinds of reports",
    opt=needs(Operation.READ_AUDIT),
)
def kinds() -> list[ReportKind]:
    """List what `/reports/{kind}` has."""
    return [
        ReportKind(kind=name, title=kind.title, event_types=list(kind.event_types))
        for name, kind in KINDS.items()
    ]


@get(
    "/reports/{kind:str}",
    summary="A compliance report, as JSON or as a file",
    opt=needs(Operation.READ_AUDIT) | {FORMS: _FILES},
)
async def report(
    state: State,
    kind: Annotated[str, PathParameter(description=f"one of {', '.join(KINDS)}", max_length=40)],
    *,
    form: Annotated[
        str,
        QueryParameter(name="format", description="json, html, csv (the rows alone) or pdf", max_length=10),
    ] = _JSON,
    since: Since = "",
    until: Until = "",
) -> Response[ReportView]:
    """Make a report of a period; it says whether it is whole, and whether the end of the trail holds.

    One at a time: 429 while another one is made. `calejo audit report` has more rows and walks through the whole trail.
    """
    service = service_of(state)
    if kind not in KINDS:
        raise UnknownSubjectError(f"report {kind[:60]!r} is not known, expected one of {', '.join(KINDS)}")
    if form not in _KINDS_OF_CONTENT:
        raise InvalidValueError(f"format: {form!r}, expected one of {', '.join(_KINDS_OF_CONTENT)}")
    begin, end = moment(since, what="since"), moment(until, what="until")
    if service.audit is None:
        raise UnavailableError("reports: the audit trail cannot be read here")
    now = service.clock.now().utc
    with service.reports:
        found = await made(service.audit, kind, since=begin, until=end, now=now)
        return await _answer(found, form, name=f"calejo-{kind}-{now:%Y-%m-%d}.{form}")


async def _answer(found: Report, form: str, *, name: str) -> Response[Any]:
    if form == _JSON:
        return Response(_view(found))
    content = await drawn(found) if form == "pdf" else (as_html if form == "html" else as_csv)(found).encode()
    # A file to keep, also the page: what people wrote into the trail is not shown beside our own pages.
    headers = {
        "Content-Disposition": f'attachment; filename="{name}"',
        # For the CSV, which has the rows alone.
        WHOLE: "false" if found.lacks else "true",
    }
    return Response(content, media_type=_KINDS_OF_CONTENT[form], headers=headers)


def _view(found: Report) -> ReportView:
    return ReportView(
        title=found.title,
        facts=[ReportFact(name=name, value=value) for name, value in found.facts],
        counts=dict(found.counts),
        rows=[ReportRow(**row) for row in found.rows],
    )


REPORT_HANDLERS: Final = [kinds, report]
