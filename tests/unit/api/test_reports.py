"""Compliance reports over REST: in every form, bounded, one at a time, from a real trail (AUD-3, API-2)."""

from __future__ import annotations

import asyncio
import csv
import io
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from actors.vocabulary import UnavailableError
from actors.vocabulary.access import UserRole
from actors.vocabulary.audit_events import EVENT_TYPES
from api.reports import desk, pdf_process
from api.reports.report import COLUMNS, KINDS, Report
from ops.audit_trail import folder_of
from storage.audit_desk import AuditDesk
from storage.audit_reader import AuditBook
from storage.engine import Access, Database, real_chance
from storage.urls import sqlite_url
from tests.unit.api.people import logged_in
from tests.unit.api.served import Served, served
from tests.unit.ops.audit.trail import Trail

REPORTS = "/api/v1/reports"


@pytest.fixture
def trail(tmp_path: Path) -> Trail:
    made = Trail(tmp_path / "trail")
    made.write(8)
    assert made.sign() == ""
    made.write(4)
    return made


@pytest.fixture
def api(tmp_path: Path, trail: Trail) -> Iterator[Served]:
    with served(tmp_path) as running:
        url = sqlite_url(trail.database)
        database = Database(url, Access.READ, settings=trail.settings.database, chance=real_chance())
        running.actor._service.audit = AuditDesk(folder_of(trail.settings), AuditBook(database))
        yield running
        running.on_loop(database.close())


def facts(body: dict[str, Any]) -> dict[str, str]:
    return {each["name"]: each["value"] for each in body["facts"]}


def test_a_report_is_told_in_every_form(api: Served) -> None:
    """AUD-3: the same records as JSON, as a page, as rows for programs and as PDF, each as a file but the first."""
    body = api.get(f"{REPORTS}/changes?since=2026-01-01").json()
    assert [row["sequence"] for row in body["rows"]] == [str(number) for number in range(1, 13)]
    assert body["counts"] == {"MODE_SET": 12}
    assert "Not whole" not in facts(body)
    assert facts(body)["State of the trail"] == "records 1 to 12 hold, 1 checkpoints are met"
    page = api.get(f"{REPORTS}/changes?since=2026-01-01&format=html")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert page.raw.count(b"<td>MODE_SET</td>") == 13
    assert page.headers["content-disposition"].startswith('attachment; filename="calejo-changes-20')
    assert "default-src 'none'" in page.headers["content-security-policy"]
    rows = list(csv.DictReader(io.StringIO(api.get(f"{REPORTS}/changes?format=csv").raw.decode())))
    assert [row["hash"] for row in rows] == [row["hash"] for row in body["rows"]]
    pdf = api.get(f"{REPORTS}/changes?format=pdf")
    assert (pdf.status, pdf.headers["content-type"]) == (200, "application/pdf")
    assert pdf.raw.startswith(b"%PDF-1.")
    assert pdf.raw.rstrip().endswith(b"%%EOF")
    assert pdf.headers["cache-control"] == "no-store", "it names people"


def test_every_kind_is_listed_and_answered(api: Served) -> None:
    """AUD-3: access, changes, emergency operations, failed log-ins, limits."""
    listed = api.get(REPORTS).json()
    assert {each["kind"] for each in listed} == set(KINDS)
    for each in listed:
        assert set(each["event_types"]) <= set(EVENT_TYPES)
        assert api.get(f"{REPORTS}/{each['kind']}").json()["title"] == each["title"]


def test_a_period_and_a_bound(api: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """AUD-3: of more than the bound the newest are in it, and every form says that it is not whole."""
    some = api.get(f"{REPORTS}/changes?since=2026-06-01T12:00:05Z&until=2026-06-01T12:00:08Z").json()
    assert [row["sequence"] for row in some["rows"]] == ["5", "6", "7"]
    monkeypatch.setattr(desk, "ROWS_MAX", 5)
    body = api.get(f"{REPORTS}/changes").json()
    assert [row["sequence"] for row in body["rows"]] == ["8", "9", "10", "11", "12"]
    assert "newest 5 records" in facts(body)["Not whole"]
    assert api.get(f"{REPORTS}/changes?format=csv").headers["calejo-report-whole"] == "false"
    monkeypatch.undo()
    assert api.get(f"{REPORTS}/changes?format=csv").headers["calejo-report-whole"] == "true"


def test_what_was_not_verified_or_does_not_hold_is_said(
    api: Served, trail: Trail, monkeypatch: pytest.MonkeyPatch
) -> None:
    """AUD-1, AUD-3: a report from a trail that somebody changed says so; one whose beginning nobody looked at, too."""
    monkeypatch.setattr(desk, "VERIFY_MAX", 5)
    state = facts(api.get(f"{REPORTS}/access").json())["State of the trail"]
    assert "records 8 to 12 hold" in state
    assert "NOT PROVED here: records 1 to 7" in state
    trail.execute("DROP TRIGGER audit_log_no_update", "UPDATE audit_log SET actor = 'x' WHERE sequence = 10")
    assert facts(api.get(f"{REPORTS}/access").json())["State of the trail"].startswith("BROKEN at record 10")


def test_what_was_archived_is_not_passed_over(api: Served, trail: Trail) -> None:
    """AUD-3: REST sees no segments: a report that lacks their records says so, in every form."""
    trail.note_segment(4)
    body = api.get(f"{REPORTS}/changes").json()
    assert [row["sequence"] for row in body["rows"]] == [str(number) for number in range(5, 13)]
    assert "records 1 to 4 are archived" in facts(body)["Not whole"]
    assert facts(body)["State of the trail"].startswith("records 5 to 12 hold")
    assert api.get(f"{REPORTS}/changes?format=csv").headers["calejo-report-whole"] == "false"
    assert b"records 1 to 4 are archived" in api.get(f"{REPORTS}/changes?format=html").raw


def test_one_report_at_a_time(api: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """EST-1, API-2: who asks beside another one is told when to come again; its end, also a bad one, frees the desk."""
    begun, go_on = threading.Event(), threading.Event()

    async def held(*_: Any, **__: Any) -> bytes:
        begun.set()
        await asyncio.to_thread(go_on.wait, 20)
        raise UnavailableError("no PDF today")

    monkeypatch.setattr("api.report_routes.drawn", held)
    token, answers = api.token(), []
    first = threading.Thread(
        target=lambda: answers.append(api.get(f"{REPORTS}/access?format=pdf", token=token))
    )
    first.start()
    assert begun.wait(20)
    refused = api.get(f"{REPORTS}/limits", token=token)
    assert "one at a time" in refused.problem(429)
    assert int(refused.headers["retry-after"]) > 0
    assert api.get("/api/v1/alive", token="").status == 200
    go_on.set()
    first.join(20)
    assert "no PDF today" in answers[0].problem(503)
    assert api.get(f"{REPORTS}/limits", token=token).status == 200


@pytest.mark.parametrize(
    ("path", "status", "told"),
    [
        ("/weather", 404, "access, changes"),
        ("/access?format=docx", 400, "json, html, csv, pdf"),
        ("/access?since=yesterday", 400, "since: 'yesterday'"),
        ("/access?until=0001-01-01T00:00%2B14:00", 400, "until"),
    ],
)
def test_what_cannot_be_asked_is_named(api: Served, path: str, status: int, told: str) -> None:
    """API-1: the value, the place and what was expected."""
    assert told in api.get(f"{REPORTS}{path}").problem(status)


def test_reports_are_for_who_may_read_the_trail(api: Served) -> None:
    """SEC-2: READ_AUDIT; a controller may not. And an API without a trail says so."""
    plc = logged_in(api.users, api.desk, "plc", UserRole.FIELD)
    assert api.get(f"{REPORTS}/access", token=plc).problem(403)
    auditor = logged_in(api.users, api.desk, "auditor", UserRole.READ_ONLY)
    assert api.get(f"{REPORTS}/access", token=auditor).status == 200
    api.actor._service.audit = None
    assert "cannot be read here" in api.get(f"{REPORTS}/access", token=auditor).problem(503)


def test_a_pdf_that_takes_too_long_leaves_no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """EST-1: drawn beside the API, for a bounded time; whoever draws longer is ended."""
    rows = tuple(dict.fromkeys(COLUMNS, "x" * 200) for _ in range(3_000))
    whole = Report(title="x", facts=(), counts=(), rows=rows)
    started: list[Any] = []
    really = asyncio.create_subprocess_exec

    async def noted(*given: Any, **named: Any) -> Any:
        started.append(await really(*given, **named))
        return started[-1]

    monkeypatch.setattr(asyncio, "create_subprocess_exec", noted)
    with pytest.raises(UnavailableError, match="choose a shorter period"):
        asyncio.run(pdf_process.drawn(whole, within_s=0.3))
    assert started[0].returncode is not None, "it has ended"


def test_a_process_that_draws_nothing_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """API-1: not an empty file."""
    monkeypatch.setattr(sys, "executable", "/bin/true")
    with pytest.raises(UnavailableError, match="ended without it"):
        asyncio.run(pdf_process.drawn(Report(title="x", facts=(), counts=(), rows=())))
