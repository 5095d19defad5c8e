"""The past of a pump over real HTTP and on the command line: whole, in plain words, or refused with the reason."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

import msgspec
import pytest

from actors.vocabulary import DeviceError, Reason
from actors.vocabulary.chains import DecisionChain, DecisionPage
from actors.vocabulary.records import FeedbackRow, Record
from api.decision_sentences import BECAUSE
from api.decision_views import explained
from ops.rundir import DataDirectory
from storage.decisions import Decisions
from storage.engine import Access, Database
from supervisors.process import SystemClock
from tests.unit.api.served import Served, served, walked
from tests.unit.ops.cli.runs import announce, run, silent_server, trust
from tests.unit.storage.contract import stop
from tests.unit.storage.decisions_contract import decision, wire
from tests.unit.storage.test_sqlite import SqlitePlace

Capsys = pytest.CaptureFixture[str]
NOW = SystemClock().now().utc.replace(microsecond=0)
THEN = NOW - timedelta(minutes=10)
PLAN = {
    "plan_id": 17,
    "station_id": "s1",
    "pump_id": "p1",
    "interval_start": "2026-11-21T10:00:00+00:00",
    "interval_end": "2026-11-21T10:15:00+00:00",
    "plan_version": 3,
    "created_at": "2026-11-21T09:00:00+00:00",
    "suggested_speed_hz": 60.0,
    "target_level_m": 1.5,
}
TRAIL = {
    "site_id": "north",
    "proposal": {
        "wish_hz": 60.0,
        "mode": "AUTO",
        "sequence": 77,
        "origin": {"boot_id": "boot", "boot_ns": 5, "utc_ns": 6},
        "held_stopped": False,
        "failsafe": None,
        "source": {
            "calculator": "level_pid",
            "plan_id": 17,
            "plan_version": 3,
            "plan": PLAN,
            "inputs": {"wet_well_level_m": {"value": 1.52, "quality": "GOOD", "age_s": 0.4, "why": ""}},
            "note": "",
        },
    },
    "feedback": {"actual_speed_hz": {"value": 49.0, "quality": "GOOD", "age_s": 0.3}},
    "steps": [{"rule": "SPEED_BAND", "before_hz": 60.0, "after_hz": 50.0, "why": "above the highest, 50 Hz"}],
    "mode": "AUTO",
    "quality": "GOOD",
    "run_inhibit": False,
    "lease_s": 10.0,
}
DETAIL = {
    "why": "taken",
    "quality": "GOOD",
    "run_inhibit": False,
    "echo_hz": 50.0,
    "echo_at": (THEN + timedelta(seconds=1)).isoformat(),
    "measured_hz": 49.8,
    "measured_at": (THEN + timedelta(seconds=1)).isoformat(),
}


def rows() -> tuple[Record, ...]:
    """Return a decision with what the wires made of it, a lapse of one of them, and an older decision."""
    limited: dict[str, Any] = {"setpoint_hz": 50.0, "reason": "LIMITED"}
    return (
        decision(1, at=THEN - timedelta(seconds=60), trail={**TRAIL, "steps": []}),
        decision(2, at=THEN, trail=TRAIL, **limited),
        wire(2, at_s=0, at=THEN + timedelta(milliseconds=12), detail=DETAIL, **limited),
        wire(
            2,
            at_s=1,
            endpoint="opcua",
            why="changed",
            at=THEN + timedelta(seconds=11),
            setpoint_hz=0.0,
            remote_enabled=False,
            reason="LEASE_EXPIRED",
            detail={"why": "changed", "quality": "BAD"},
        ),
        FeedbackRow(
            record_id="f1", pump_id="p1", measured_at=THEN, source="calejo:modbus", quality="GOOD",
            actual_speed_hz=49.8, wet_well_level_m=1.52, running=True,
        ),
        stop("00000000-0000-4000-8000-00000000000a", reason="a hand", set_at=THEN + timedelta(seconds=20)),
    )  # fmt: skip


def store(folder: Path) -> Database:
    """Make a database with those rows, as a run of Calejo leaves it."""
    folder.mkdir()
    place = SqlitePlace(folder / "calejo.db")
    place.seed()
    assert place.write(*rows()) == {}
    return place.database(Access.READ)


class Past:
    """What the API reads, or a database that is away."""

    def __init__(self, reader: Decisions | None) -> None:
        self.reader = reader
        self.away = False

    async def chain(self, pump_id: str, *, at: datetime) -> DecisionChain:
        if self.away or self.reader is None:
            raise DeviceError("calejo.db: no answer within 9 s")
        return await self.reader.chain(pump_id, at=at)

    async def page(
        self, pump_id: str, *, start: datetime, end: datetime, following: str, count_max: int
    ) -> DecisionPage:
        if self.away or self.reader is None:
            raise DeviceError("calejo.db: no answer within 9 s")
        return await self.reader.page(pump_id, start=start, end=end, following=following, count_max=count_max)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def past(data: Path) -> Past:
    return Past(Decisions(store(data)))


@pytest.fixture
def api(tmp_path: Path, past: Past) -> Iterator[Served]:
    with served(tmp_path, decisions=past) as running:
        yield running
        reader = past.reader
        assert reader is not None
        running.on_loop(reader._database.close())


def at(seconds: float) -> str:
    return quote((THEN + timedelta(seconds=seconds)).isoformat())


def told(lines: Sequence[str], *beginnings: str) -> None:
    """Check that the sentences come in this order, top to bottom."""
    places = [next(i for i, line in enumerate(lines) if line.startswith(each)) for each in beginnings]
    assert places == sorted(places), lines


def test_a_moment_is_explained_from_plan_to_plant(api: Served) -> None:
    """SAF-4, BYD-1: plan row, calculator with inputs, rule, limits, epoch, wires, readback; whole and in words."""
    view = api.get(f"/api/v1/decisions/p1?at={at(5)}").json()
    assert view["plan"]["plan_id"] == 17
    assert view["proposal"]["inputs"]["wet_well_level_m"]["age_s"] == 0.4
    assert view["proposal"]["tick"]["boot_id"] == "boot"
    assert view["rules"] == [
        {"rule": "speed_band", "before_hz": 60.0, "after_hz": 50.0, "why": "above the highest, 50 Hz"}
    ]
    assert (view["decision"]["epoch"], view["decision"]["sequence"], view["decision"]["lease_s"]) == (
        "0.9",
        2,
        10.0,
    )
    assert (view["limits"]["hard_max_speed_hz"], view["limits"]["approved_by"]) == (50.0, "bert")
    [modbus] = view["wire"]
    assert (modbus["endpoint"], modbus["took"]["echo_hz"], modbus["took"]["sequence"]) == ("modbus", 50.0, 2)
    assert view["plant"]["actual_speed_hz"] == 49.8
    assert (view["silent"], view["next_decision_at"], view["stops"]) == (False, None, [])
    lines = view["sentences"]
    told(
        lines, "Pump p1 of station s1", "Plan: row 17, version 3", "Calculator: level_pid asked for 60.00 Hz",
        "  from wet_well_level_m = 1.52, GOOD, 0.4 s old", "Rule speed_band: 60.00 Hz -> 50.00 Hz",
        "Safety decided 50.00 Hz", "Wire modbus: took it at", "  the controller echoed 50.00 Hz", "Plant at",
    )  # fmt: skip
    assert "limits version 1 (20 to 50 Hz, set by anna, approved by bert); epoch 0.9, sequence 2" in "".join(
        lines
    )
    assert "12 ms after it was decided" in "".join(lines)


def test_the_wire_is_told_as_it_was_at_that_moment(api: Served) -> None:
    """SAF-4: a lapse that no decision tells of; an endpoint that never took it; a stop; a decision not yet taken."""
    lapsed = api.get(f"/api/v1/decisions/p1?at={at(30)}").json()
    opcua = next(each for each in lapsed["wire"] if each["endpoint"] == "opcua")
    assert (opcua["took"], opcua["shown"]["reason"]) == (None, "LEASE_EXPIRED")
    text = "\n".join(lapsed["sentences"])
    assert "Wire opcua: did not take this decision" in text
    assert "0.00 Hz, not enabled, BAD: nothing fresh had come within the setpoint's lease" in text
    assert "Emergency stop of pump p1 by anna" in text
    early = api.get(f"/api/v1/decisions/p1?at={at(0.005)}").json()
    assert "Wire modbus: had not taken it yet" in "\n".join(early["sentences"])
    late = api.get(f"/api/v1/decisions/p1?at={at(300)}").json()
    assert late["silent"] is True
    assert "nothing was decided or nothing could be recorded" in "\n".join(late["sentences"])


def test_a_plus_sign_that_nobody_encoded_is_a_plus_sign(api: Served) -> None:
    """API-2: `+01:00` in an address arrives as a space; everybody forgets that once."""
    raw = (THEN + timedelta(seconds=5)).isoformat()
    assert "+" in raw
    assert api.get(f"/api/v1/decisions/p1?at={raw}").json()["decided_at"] == THEN.isoformat()


def test_a_span_is_listed_by_pages(api: Served) -> None:
    """API-2: the newest first, joined by `Link`; with the whole trail for whoever wants it."""
    path = f"/api/v1/decisions/p1?from={at(-600)}&to={at(600)}"
    first = api.get(f"{path}&limit=1").json()
    assert [row["sequence"] for row in first] == [2]
    assert first[0]["rules"] == ["speed_band"]
    assert "trail" not in first[0]
    pages = [page.json() for page in walked(api, f"{path}&limit=1")]
    assert [[row["sequence"] for row in page] for page in pages] == [[2], [1]]
    whole = api.get("/api/v1/decisions/p1?trail=true").json()
    assert [row["trail"]["site_id"] for row in whole] == ["north", "north"]
    assert api.get(f"/api/v1/decisions/p1?to={at(-600)}").json() == []


def test_the_next_page_is_of_the_span_of_the_first(api: Served) -> None:
    """API-2: `Link` names the span, also when nobody gave one: it does not move while somebody turns pages."""
    link = api.get("/api/v1/decisions/p1?limit=1").headers["link"]
    named = parse_qs(urlsplit(link[1 : link.index(">")]).query)
    assert set(named) == {"limit", "from", "to", "cursor"}
    begin, end = (datetime.fromisoformat(named[name][0]) for name in ("from", "to"))
    assert end - begin == timedelta(hours=24)


REFUSED = [
    ("nobody?at=2026-11-21T10:00:00Z", 404, "nobody"),
    ("nobody", 404, "nobody"),
    ("p1?at=soon", 400, "at: 'soon', expected ISO 8601 with a zone"),
    ("p1?at=", 400, "expected ISO 8601"),
    ("p1?at=NaN", 400, "expected ISO 8601"),
    ("p1?at=2026-11-21T10:00:00", 400, "does not say in which zone"),
    ("p1?at=9999-12-31T23:59:59-12:00", 400, "expected ISO 8601"),
    ("p1?at=2999-01-01T00:00:00Z", 400, "has not come yet"),
    ("p1?at=2001-01-01T00:00:00Z", 410, r"kept for 31 days \(history.decisions_days\); its oldest"),
    ("p2?at=2001-01-01T00:00:00Z", 410, "kept for 31 days"),
    ("p1?at=2026-11-21T10:00:00Z&to=2026-11-21T10:00:00Z", 400, "not both"),
    ("p1?from=2026-11-21T10:00:00Z&to=2026-11-21T10:00:00Z", 400, "expected a moment before"),
    ("p1?from=x", 400, "from: 'x'"),
    ("p1?cursor=x", 400, "cursor: 'x'"),
    ("p1?cursor=eA", 400, "cursor: 'x'"),
    ("p1?cursor=eA&at=2026-11-21T10:00:00Z", 400, "not both"),
    ("p1?limit=0", 400, "limit"),
    ("p1?limit=501", 400, "limit"),
    ("p1?limit=many", 400, "limit"),
    ("a%20b?at=2026-11-21T10:00:00Z", 400, "pump_id"),
    ("p1?at=" + "x" * 61, 400, "at"),
]


def test_what_cannot_be_told_is_refused_with_the_reason(api: Served) -> None:
    """API-1, SAF-4: unknown, unparsable, without zone, to come, before retention: a typed error each."""
    for path, status, why in REFUSED:
        detail = api.get(f"/api/v1/decisions/{path}").problem(status)
        assert re.search(why, detail), (path, detail)


def test_a_moment_before_the_first_decision_is_not_known(api: Served) -> None:
    """SAF-4: within the retention, but nothing was decided then: said so, with the oldest there is."""
    detail = api.get(f"/api/v1/decisions/p1?at={at(-3600)}").problem(404)
    assert "nothing was decided for it" in detail
    assert (THEN - timedelta(seconds=60)).isoformat() in detail
    assert "no decision was ever recorded" in api.get(f"/api/v1/decisions/p2?at={at(0)}").problem(404)


def test_a_database_that_is_away_is_said_so(api: Served, past: Past, tmp_path: Path) -> None:
    """DAT-3: 503, and nothing else suffers."""
    past.away = True
    assert "no answer" in api.get(f"/api/v1/decisions/p1?at={at(5)}").problem(503)
    assert "no answer" in api.get("/api/v1/decisions/p1").problem(503)
    assert api.get("/api/v1/pumps/p1/explain").status == 200


def test_rows_of_an_older_version_are_told_as_far_as_they_go() -> None:
    """SAF-4: what was not recorded then is null, never guessed, and said so."""
    old = decision(
        1, trail={"proposal": {"wish_hz": None, "source": {"plan_id": 5, "calculator": "direct_speed"}}}
    )
    view = msgspec.to_builtins(
        explained(DecisionChain(pump_id="p1", decision=old), at=old.at, row_period_s=60.0)
    )
    assert (view["plan"], view["feedback"], view["limits"], view["wire"]) == (None, None, None, [])
    text = "\n".join(view["sentences"])
    assert "row 5, whose values were not recorded" in text
    assert "asked for no speed" in text
    assert "Plant: no feedback" in text
    bare = msgspec.structs.replace(old, trail={}, limits_version=None, reason="A_LATER_ONE")
    view = msgspec.to_builtins(
        explained(DecisionChain(pump_id="p1", decision=bare), at=old.at, row_period_s=60.0)
    )
    assert view["sentences"][0].endswith("because A_LATER_ONE.")


@pytest.mark.parametrize("told", [True, False, None])
def test_a_pump_that_did_not_follow_is_named_in_its_past(told: bool | None) -> None:
    """CTL-5, SAF-4: recorded with the decision, and told; what an older version did not record is null."""
    row = decision(1, trail={} if told is None else {"not_following": told})
    view = msgspec.to_builtins(
        explained(DecisionChain(pump_id="p1", decision=row), at=row.at, row_period_s=60.0)
    )
    assert view["decision"]["not_following"] is told
    assert any("NOT_FOLLOWING" in line for line in view["sentences"]) is (told is True)


@pytest.mark.parametrize(
    "proposal",
    [
        "a NoneType",
        {"source": "a NoneType", "wish_hz": "nan", "mode": "sometimes"},
        {
            "source": {"plan": "x", "inputs": "y", "calculator": "z" * 300},
            "wish_hz": "a number beyond any number",
        },
        {
            "source": {
                "plan": {"suggested_speed_hz": "nan", "interval_start": 7},
                "inputs": {"level": "a list"},
            }
        },
        {"source": {"inputs": {"level": {"value": "inf", "quality": 3, "age_s": "inf"}}}, "wish_hz": None},
    ],
)
def test_whatever_a_proposal_held_is_told(proposal: Any) -> None:
    """SAF-3, SAF-4: it was recorded as it came, and can be explained: that is when somebody asks."""
    odd = decision(1, trail={"proposal": proposal, "steps": [{"rule": "INVALID_PROPOSAL", "before_hz": "nan",
                                                              "after_hz": 0.0, "why": "no number"}]})  # fmt: skip
    view = msgspec.to_builtins(
        explained(DecisionChain(pump_id="p1", decision=odd), at=odd.at, row_period_s=60.0)
    )
    msgspec.json.encode(view)
    told(
        view["sentences"],
        "Pump p1",
        "Plan:",
        "Calculator:",
        "Rule invalid_proposal: nan Hz -> 0.00 Hz",
        "Safety",
    )


def test_every_reason_has_its_own_words() -> None:
    """SAF-4: an operator reads no codes."""
    assert set(BECAUSE) == set(Reason)
    assert len(set(BECAUSE.values())) == len(Reason)
    assert not any("_" in words for words in BECAUSE.values())


# ------------------------------------------------------------------ the command line


def test_the_command_asks_what_runs(api: Served, data: Path, capsys: Capsys) -> None:
    """BYD-1: sentences for an operator, everything with --json; refusals keep their exit codes."""
    folder: DataDirectory = announce(data, rest=api.rest)
    trust(data, Path(api.settings.data_dir))
    try:
        when = (THEN + timedelta(seconds=5)).isoformat()
        shown = run(capsys, "explain", "p1", "--at", when, "--data-dir", data)
        assert shown.code == 0
        told(shown.out.splitlines(), "Pump p1", "Plan:", "Calculator:", "Rule", "Safety", "Wire", "Plant")
        view = run(capsys, "explain", "p1", "--at", when, "--json", "--data-dir", data).json()
        assert view["record_id"] == "decision:p1:2"
        table = run(capsys, "explain", "p1", "--from", "1h ago", "--data-dir", data).out.splitlines()
        assert [line.split()[1] for line in table[1:]] == ["50", "35"]
        page = run(capsys, "explain", "p1", "--from", "1h ago", "--limit", 1, "--data-dir", data)
        place = page.err.split("--following ")[1].strip().strip("'")
        rest = run(
            capsys, "explain", "p1", "--from", "1h ago", "--limit", 1, "--following", place, "--json",
            "--data-dir", data,
        ).json()  # fmt: skip
        assert ([row["sequence"] for row in rest["decisions"]], rest["following"]) == ([1], "")
        assert "nobody" in run(capsys, "explain", "nobody", "--at", when, "--data-dir", data).line(4)
        assert "31 days" in run(capsys, "explain", "p1", "--at", "99d ago", "--data-dir", data).line(4)
        future = (NOW + timedelta(days=2)).isoformat()
        assert "not come" in run(capsys, "explain", "p1", "--at", future, "--data-dir", data).line(2)
    finally:
        folder.release()


def test_the_command_reads_the_database_of_what_does_not_run(past: Past, data: Path, capsys: Capsys) -> None:
    """BYD-1: also when the program is not running: the same words, the same refusals."""
    when = (THEN + timedelta(seconds=5)).isoformat()
    shown = run(capsys, "explain", "p1", "--at", when, "--data-dir", data)
    told(shown.out.splitlines(), "Pump p1", "Plan:", "Calculator:", "Rule", "Safety", "Wire", "Plant")
    view = run(capsys, "explain", "P1", "--at", when, "--json", "--data-dir", data).json()
    assert view["wire"][0]["took"]["echo_hz"] == 50.0
    assert (
        len(
            run(capsys, "explain", "p1", "--from", "1h ago", "--json", "--data-dir", data).json()["decisions"]
        )
        == 2
    )
    assert "no decision" in run(capsys, "explain", "nobody", "--at", when, "--data-dir", data).line(4)
    assert "31 days" in run(capsys, "explain", "p1", "--at", "99d ago", "--data-dir", data).line(4)
    assert "expected ISO" in run(capsys, "explain", "p1", "--at", "soon", "--data-dir", data).line(2)
    both = run(capsys, "explain", "p1", "--at", "1h ago", "--to", "now", "--data-dir", data)
    assert "either" in both.line(2)
    assert "not running" in run(capsys, "explain", "p1", "--data-dir", data).line(3)
    assert "calejo.db" in run(capsys, "explain", "p1", "--at", when, "--data-dir", data.parent / "none").line(
        1
    )


def test_an_api_that_does_not_answer_is_not_waited_for(
    past: Past, data: Path, capsys: Capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    """BYD-1: the past is in the database, whoever else hangs."""
    from ops.cli import explain

    monkeypatch.setattr(explain, "_TIMEOUT_S", 0.2)
    with silent_server() as port:
        folder = announce(data, rest=port)
        try:
            shown = run(capsys, "explain", "p1", "--at", THEN.isoformat(), "--data-dir", data)
        finally:
            folder.release()
    assert shown.code == 0
    assert "reading the database" in shown.err
    assert shown.out.startswith("Pump p1")
