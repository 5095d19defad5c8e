"""Compliance reports from the audit trail: what they hold, as HTML and CSV; PDF is `api.reports.pdf` (AUD-3)."""

from __future__ import annotations

import asyncio
import csv
import html
import io
import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, Protocol, TypeAlias

import msgspec

from actors.vocabulary.audit_events import EVENT_TYPES, FAILED_LOGINS, Category
from actors.vocabulary.audit_trail import SEARCH_MAX, AuditPage, AuditQuery

ROWS_MAX: Final = 20_000
"""Records in one report; of more the newest are in it, and it says so."""

COLUMNS: Final = (
    "sequence", "at", "severity", "event_type", "actor", "source_address", "object_id", "outcome", "change",
    "correlation_id", "clauses", "hash",
)  # fmt: skip
SHOWN: Final = COLUMNS[:9]
_SUCCESS: Final = "success"


class Kind(msgspec.Struct, frozen=True, kw_only=True):
    """One report: its title, its event types, and whether only what did not succeed is in it."""

    title: str
    event_types: tuple[str, ...]
    failures_only: bool = False


def _of(*categories: Category) -> tuple[str, ...]:
    return tuple(name for name, event in EVENT_TYPES.items() if event.category in categories)


KINDS: Final[Mapping[str, Kind]] = {
    "access": Kind(title="Access", event_types=_of(Category.ACCESS)),
    "changes": Kind(
        title="Changes and operation",
        event_types=_of(Category.CHANGE, Category.OPERATION, Category.INTEGRITY),
    ),
    "emergency": Kind(title="Emergency operations", event_types=_of(Category.EMERGENCY)),
    "failed-logins": Kind(title="Failed log-ins", event_types=FAILED_LOGINS, failures_only=True),
    "limits": Kind(title="Limits", event_types=_of(Category.LIMITS)),
}


class Searched(Protocol):
    """Where the records come from."""

    async def search(self, query: AuditQuery) -> AuditPage:
        """Return the newest records that fit, a page of at most `SEARCH_MAX`."""
        ...


# What has older records than the reader: asked for the newest so many that fit the query and are wanted.
Wanted: TypeAlias = Callable[[Mapping[str, Any]], bool]
Older: TypeAlias = Callable[[AuditQuery, int, Wanted], Sequence[Mapping[str, Any]]]


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """A report as data: rows oldest first, texts ready to be shown."""

    title: str
    facts: tuple[tuple[str, str], ...]
    counts: tuple[tuple[str, int], ...]
    rows: tuple[Mapping[str, str], ...]
    lacks: tuple[str, ...] = ()
    """What is not in it although it was asked for; empty: it is whole."""


async def gathered(
    book: Searched,
    name: str,
    *,
    since: datetime | None,
    until: datetime | None,
    made_at: datetime,
    proof: str,
    rows_max: int = ROWS_MAX,
    older: Older | None = None,
    lacks: Sequence[str] = (),
) -> Report:
    """Read one report of the newest `rows_max` records; `proof` is what verifying the trail said.

    `older` has what the reader has no longer (archived segments); `lacks`: what is known beforehand to be missing.

    Raises:
        DeviceError: the database is away or slow, or a segment cannot be read.

    """
    kind = KINDS[name]
    found: list[Mapping[str, Any]] = []

    def is_wanted(row: Mapping[str, Any]) -> bool:
        return not (kind.failures_only and row["outcome"] == _SUCCESS)

    before: int | None = None
    more = True
    while more and len(found) < rows_max:
        query = AuditQuery(
            event_types=kind.event_types, since=since, until=until, before=before, limit=SEARCH_MAX
        )
        page = await book.search(query)
        found += filter(is_wanted, page.records)
        before, more = page.next_before, page.next_before is not None
    missing = list(lacks)
    if not more and len(found) <= rows_max and older is not None:
        query = AuditQuery(event_types=kind.event_types, since=since, until=until)
        found += await asyncio.to_thread(older, query, rows_max + 1 - len(found), is_wanted)
    # Beside the loop: thousands of changes are decoded.
    rows = await asyncio.to_thread(lambda: tuple(_row(row) for row in reversed(found[:rows_max])))
    period = f"{_told(since, 'the beginning')} to {_told(until, 'now')}"
    facts = [("Period (UTC)", period), ("Made at (UTC)", _told(made_at, "")), ("Records", str(len(rows)))]
    if more or len(found) > rows_max:
        missing.insert(0, f"only the newest {len(rows)} records are in it; choose a shorter period")
    facts += [("Not whole", each) for each in missing]
    facts.append(("State of the trail", proof))
    counts = Counter(row["event_type"] for row in rows)
    return Report(
        title=kind.title,
        facts=tuple(facts),
        counts=tuple(sorted(counts.items())),
        rows=rows,
        lacks=tuple(missing),
    )


def facts_csv(report: Report) -> str:
    """Return what stands above the rows in the other forms: title, period, what it lacks, the trail's state, counts."""
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(("fact", "value"))
    counts = ((f"Records of {name}", str(count)) for name, count in report.counts)
    for name, value in (("Report", report.title), *report.facts, *counts):
        writer.writerow((_harmless(name), _harmless(value)))
    return out.getvalue()


def as_csv(report: Report) -> str:
    """Return the rows, for programs and spreadsheets; a cell that a spreadsheet would compute is kept text.

    What a reader has to know beside them is `facts_csv`, a file of its own: programs read the first line as the header.
    """
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(COLUMNS)
    for row in report.rows:
        writer.writerow([_harmless(row[column]) for column in COLUMNS])
    return out.getvalue()


def as_html(report: Report) -> str:
    """Return one page without outside assets."""
    facts = "".join(f"<dt>{_e(name)}</dt><dd>{_e(value)}</dd>" for name, value in report.facts)
    counts = _table(("event type", "meaning", "records"), [
        (name, EVENT_TYPES[name].meaning if name in EVENT_TYPES else "", str(count)) for name, count in report.counts
    ])  # fmt: skip
    rows = _table(SHOWN, [[row[column] for column in SHOWN] for row in report.rows])
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{_e(report.title)}</title>'
        f"<style>{_STYLE}</style></head><body><h1>Audit report: {_e(report.title)}</h1>"
        f"<dl>{facts}</dl><h2>By event type</h2>{counts}<h2>Records</h2>{rows}</body></html>\n"
    )


_STYLE: Final = (
    "body{font:14px/1.4 sans-serif;margin:2em;color:#111}table{border-collapse:collapse;width:100%}"
    "th,td{border:1px solid #999;padding:.2em .5em;text-align:left;vertical-align:top;overflow-wrap:anywhere}"
    "th{background:#eee}dt{font-weight:bold}dd{margin:0 0 .5em}"
)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    titles = "".join(f'<th scope="col">{_e(name.replace("_", " "))}</th>' for name in head)
    body = "".join("<tr>" + "".join(f"<td>{_e(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><thead><tr>{titles}</tr></thead><tbody>{body}</tbody></table>"


def _row(record: Mapping[str, Any]) -> dict[str, str]:
    row = {column: str(record[column]) for column in COLUMNS if column != "change"}
    return {**row, "change": _change(record["before"], record["after"])}


def _change(before: Any, after: Any) -> str:
    """Return what differs, as `key: before → after`; what is no JSON object as it stands."""
    old, new = _object(before), _object(after)
    if old is None or new is None:
        return " → ".join(str(part) for part in (before, after) if part is not None)
    return "; ".join(
        f"{key}: {_value(old, key)}{' → ' if old else ''}{_value(new, key)}"
        for key in sorted(old.keys() | new.keys())
        if old.get(key) != new.get(key)
    )


def _value(of: Mapping[str, Any], key: str) -> str:
    return json.dumps(of[key], ensure_ascii=False) if key in of else ""


def _object(text: Any) -> dict[str, Any] | None:
    if text is None:
        return {}
    try:
        found = json.loads(text)
    except (ValueError, TypeError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _harmless(cell: str) -> str:
    return f"'{cell}" if cell.startswith(("=", "+", "-", "@", "\t", "\r")) else cell


def _told(at: datetime | None, otherwise: str) -> str:
    return otherwise if at is None else at.strftime("%Y-%m-%d %H:%M:%S")


def _e(text: str) -> str:
    return html.escape(text, quote=True)
