"""What `calejo run` says and asks about where it listens."""

from __future__ import annotations

import asyncio
import io
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import msgspec
import pytest

from actors.messages import Stored, StoreRecords
from actors.vocabulary import Settings, UnavailableError
from actors.vocabulary.records import AuditRecord
from actors.vocabulary.settings import ApiSettings, ModbusSettings, PortSettings
from ops import run as run_module
from ops.audit_trail import record_of
from ops.progress import Teller
from ops.run import _Run
from ops.rundir import DataDirectory
from ops.untold import Untold

if TYPE_CHECKING:
    from supervisors.on_ray.runtime import RayRuntime
    from supervisors.on_ray.session import RaySession

SETTINGS = Settings(
    data_dir="/nowhere",
    api=ApiSettings(host="::1", rest=8090, health=8091),
    ports=PortSettings(host="::1", opcua=4850, modbus=5050),
)


def a_run(tmp_path: Path) -> _Run:
    session: Any = None  # neither question needs Ray
    return _Run(SETTINGS, DataDirectory(tmp_path), session, Teller(io.StringIO()), demo=False)


def test_the_ready_line_can_be_copied_with_ipv6_too(tmp_path: Path) -> None:
    """Issue 2, API-1: every URL of the ready line is one."""
    line = a_run(tmp_path)._ready_line(1.5)
    assert line == (
        "ready after 1.5 s: dashboard http://[::1]:8090/  REST http://[::1]:8090/api/v1  health http://[::1]:8091/health/ready"
        "  OPC UA opc.tcp://[::1]:4850  Modbus [::1]:5050"
    )


def test_the_ready_line_names_the_ports_that_are_served(tmp_path: Path) -> None:
    """MOD-1: with TLS beside the plain port both; with TLS alone no port that nobody has."""

    def ways(modbus: ModbusSettings) -> str:
        run = a_run(tmp_path)
        run._settings = msgspec.structs.replace(SETTINGS, modbus=modbus)
        return run._ready_line(1.5).partition("  Modbus ")[2]

    assert ways(ModbusSettings(tls=True)) == "[::1]:5050 and [::1]:5802 (TLS)"
    assert ways(ModbusSettings(tls=True, plain=False)) == "[::1]:5802 (TLS)"


def test_readiness_is_asked_at_an_ipv6_address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Issue 2: with api.host ::1 a run becomes ready instead of ending with a ValueError."""
    asked: list[tuple[str, str]] = []

    def call(base: str, method: str, path: str, *, timeout_s: float) -> dict[str, Any]:
        asked.append((base, path))
        return {"data_dir": "/nowhere", "missing": ["pump p1"]}

    monkeypatch.setattr(run_module, "call", call)
    assert asyncio.run(a_run(tmp_path)._missing()) == ["pump p1"]
    assert asked == [("http://[::1]:8091", "/health/live"), ("http://[::1]:8091", "/health/detail")]


def test_an_api_that_does_not_answer_yet_is_what_is_missing(tmp_path: Path) -> None:
    """Issue 2: nobody listens there; that is no failure of the run."""
    assert asyncio.run(a_run(tmp_path)._missing()) == ["the API"]


class FakeStorage:
    """A runtime whose storage takes records from the `answers_from`th try on."""

    def __init__(self, *, answers_from: int) -> None:
        self._answers_from = answers_from
        self.asked = 0
        self.stored: list[str] = []
        self.directory = self

    def ref(self, address: str) -> FakeStorage:
        assert address == "/storage"
        return self

    async def ask(self, message: StoreRecords, *, deadline_s: float) -> Stored:
        self.asked += 1
        if self.asked < self._answers_from:
            raise UnavailableError("not yet")
        self.stored += [record.event_type for record in message.records if isinstance(record, AuditRecord)]
        return Stored(count=len(message.records))


def run_in(tmp_path: Path) -> tuple[_Run, io.StringIO]:
    said, session = io.StringIO(), cast("RaySession", None)
    settings = Settings(data_dir=str(tmp_path))
    return _Run(settings, DataDirectory(tmp_path), session, Teller(said), demo=False), said


def test_a_run_is_in_the_trail_from_beginning_to_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """AUD-2: storage is asked until it answers; the end is told once, and only of a run that began."""
    monkeypatch.setattr(run_module, "_TRAIL_AGAIN_S", 0.0)
    run, said = run_in(tmp_path)
    storage = FakeStorage(answers_from=3)

    async def story() -> None:
        runtime = cast("RayRuntime", storage)
        await run._tell_trail_of_the_end(runtime)
        assert storage.asked == 0
        await run._tell_trail(runtime)
        await run._tell_trail_of_the_end(runtime)

    asyncio.run(story())
    assert storage.stored == ["CALEJO_STARTED", "CALEJO_STOPPED"]
    assert said.getvalue() == ""


def test_what_commands_did_before_the_trail_was_there_is_told_once(tmp_path: Path) -> None:
    """AUD-2: `calejo certs init` before the first run: kept until storage has it."""
    run, _ = run_in(tmp_path)
    untold = Untold(tmp_path)
    untold.keep([record_of("CERTIFICATE_MADE", by="local:anna", object_id="CERTIFICATE:all")])
    storage = FakeStorage(answers_from=1)
    asyncio.run(run._tell_trail(cast("RayRuntime", storage)))
    assert storage.stored == ["CERTIFICATE_MADE", "CALEJO_STARTED"]
    assert untold.records() == ()


def test_a_disk_that_refuses_costs_the_notice_and_not_the_run(tmp_path: Path) -> None:
    """AUD-4: nothing that runs pumps ends because the trail's memory cannot be written."""
    (tmp_path / "audit").write_text("a file where the folder should be")
    run, said = run_in(tmp_path)
    storage = FakeStorage(answers_from=1)
    asyncio.run(run._tell_trail(cast("RayRuntime", storage)))
    assert storage.asked == 0
    assert "not in the audit trail" in said.getvalue()
