"""`calejo wire watch` against real endpoints: values, silence and return, Ctrl-C, on a terminal and in a pipe."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import select
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ops.kit.looking import Look
from ops.kit.watch import SiteWatch, detailed
from protocols.modbus.points import modbus_points
from protocols.points import opcua_points
from tests.unit.api.served import served
from tests.unit.ops.cli.runs import CALEJO, run, trust
from tests.unit.protocols.plants import north
from tests.wire.kit.both import PUMPS, TAGS, Both, announce, both, both_in_a_thread

pytestmark = [pytest.mark.wire, pytest.mark.system("ops.kit")]

Capsys = pytest.CaptureFixture[str]


def of(looks: list[Look], owner: str) -> Look:
    return next(look for look in looks if look.owner == owner)


def test_both_wires_are_seen_and_an_endpoint_that_returns_is_seen_again() -> None:
    """OPC-1, MOD-2: every owner with both wires; a silent wire is said to be silent, and heard when it is back."""

    async def story() -> None:
        async with both() as pair:
            watching = SiteWatch(pair.endpoint, TAGS)
            look = of(await watching.look(), "/north/s1/p1")
            for wire in ("modbus", "opcua"):
                assert look.values[wire]["setpoint"].value == 35.25
                assert look.values[wire]["actual_flow"].value == -0.01
                assert look.values[wire]["running"].value is True
            assert look.values["opcua"]["setpoint"].status == "Good"
            assert look.values["opcua"]["fault_code"].status.startswith("Bad")
            assert look.marks == ()
            port = pair.opcua.port
            await pair.opcua.endpoint.close()
            looks = await watching.look()
            assert {each.marks for each in looks} == {("opcua: silent",)}
            assert of(looks, "/north/s1/p1").values["modbus"]["setpoint"].value == 35.25
            setattr(pair.opcua.endpoint, "_port", port)  # noqa: B010 - it comes back where it was
            await pair.opcua.endpoint.open(
                guard=pair.opcua.guard, refresh=pair.opcua.refresh, news=pair.opcua.tell
            )
            assert of(await watching.look(), "/north/s1/p1").marks == ()
            await watching.close()

    asyncio.run(story())


def test_a_pump_that_has_gone_hides_no_other() -> None:
    """MOD-2: what is refused is told where it belongs, the others go on."""

    async def story() -> None:
        async with both() as pair:
            gone = "/north/s1/p2"
            watching = SiteWatch(pair.endpoint, TAGS)
            await watching.look()
            left = (modbus_points(north()), opcua_points(north()))
            modbus, opcua = (
                [each for each in points if not each.path.startswith(f"{gone}/")] for points in left
            )
            await pair.modbus.endpoint.configure(modbus)
            await pair.opcua.endpoint.configure(opcua)
            pair.beating = False
            looks = await watching.look()
            assert of(looks, "/north/s1/p1").marks == ()
            assert of(looks, gone).marks == ("modbus: refused 02", "opcua: refused BadNodeIdUnknown")
            await watching.close()

    asyncio.run(story())


def test_a_difference_is_marked_when_it_stays() -> None:
    """WDG-4: one value on two wires; a heartbeat of their own is no difference."""

    async def story() -> None:
        async with both() as pair:
            watching = SiteWatch(pair.endpoint, TAGS)
            pair.modbus.show({"/north/s1/p1/actual_speed": 12.0})
            looks: list[Look] = []

            async def seen() -> bool:
                nonlocal looks
                looks = await watching.look()
                return of(looks, "/north/s1/p1").differing == {"actual_speed"}

            for _ in range(3):
                if await seen():
                    break
            assert of(looks, "/north/s1/p1").marks == ("differs: actual_speed 12/35.2",)
            line = next(line for line in detailed(looks) if line.startswith("/north/s1/p1/actual_speed"))
            assert line.split()[1:] == ["12.00", "35.20", "Good", "differs"]
            await watching.close()

    asyncio.run(story())


@contextmanager
def running(tmp_path: Path) -> Iterator[tuple[Path, Both]]:
    data = tmp_path / "data"
    with served(tmp_path) as api, both_in_a_thread() as pair:
        folder = announce(data, rest=api.rest, endpoint=pair.endpoint)
        trust(data, tmp_path)
        try:
            yield data, pair
        finally:
            folder.release()


def test_in_a_pipe_it_prints_lines(tmp_path: Path, capsys: Capsys) -> None:
    """OPC-1, MOD-2: a line per pump and look, a choice by pump, JSON for programs, an end by `--for`."""
    with running(tmp_path) as (data, _):
        text = run(capsys, "wire", "watch", "--for", "0.5s", "--every", "0.2s", "--data-dir", data)
        assert text.code == 0
        lines = [line for line in text.out.splitlines() if f" {PUMPS[0]} " in line]
        assert len(lines) >= 2
        assert "setpoint=35.25 " in lines[0]
        assert "mode=AUTO" in lines[0]
        assert "wet_well_level=1.234" in lines[0]
        chosen = run(
            capsys, "wire", "watch", "--pump", "p2", "--format", "json", "--for", "0.1s", "--data-dir", data
        )
        told = [json.loads(line) for line in chosen.out.splitlines()]
        assert {each["path"] for each in told} == {PUMPS[1]}
        assert told[0]["opcua"]["setpoint"] == {"value": 35.25, "status": "Good"}
        assert told[0]["modbus"]["setpoint"] == {"value": 35.25}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_on_a_terminal_it_refreshes_in_place_until_ctrl_c(tmp_path: Path, number: signal.Signals) -> None:
    """OPC-1, MOD-2: the screen is replaced, and given back as it was; exit code 0, nothing on standard error."""
    with running(tmp_path) as (data, _):
        leader, follower = pty.openpty()
        process = subprocess.Popen(
            [*CALEJO, "wire", "watch", "--every", "0.2s", "--data-dir", str(data)],
            stdin=follower, stdout=follower, stderr=subprocess.PIPE,
            env={**os.environ, "COLUMNS": "120", "LINES": "12"},
        )  # fmt: skip
        os.close(follower)
        seen = b""
        try:
            ends_s = time.monotonic() + 30
            while seen.count(b"Ctrl-C ends") < 3:
                assert time.monotonic() < ends_s, seen
                if select.select([leader], [], [], 1.0)[0]:
                    seen += os.read(leader, 65_536)
            process.send_signal(number)
            assert process.wait(15) == 0
            while select.select([leader], [], [], 0.2)[0]:
                try:
                    seen += os.read(leader, 65_536)
                except OSError:
                    break
        finally:
            process.kill()
            process.wait()
            os.close(leader)
        assert process.stderr is not None
        assert process.stderr.read() == b""
        process.stderr.close()
        assert seen.startswith(b"\x1b[?1049h")
        assert seen.endswith(b"\x1b[?25h\x1b[?1049l")
        assert b"/north/s1/p1" in seen
        screens = seen.split(b"\x1b[H")[1:]
        assert all(screen.count(b"\n") < 12 for screen in screens)
