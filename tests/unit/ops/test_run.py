"""What `calejo run` says and asks about where it listens."""

from __future__ import annotations

import asyncio
import io
from pathlib import Path
from typing import Any

import pytest

from actors.vocabulary import Settings
from actors.vocabulary.settings import ApiSettings, PortSettings
from ops import run as run_module
from ops.progress import Teller
from ops.run import _Run
from ops.rundir import DataDirectory

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
        "ready after 1.5 s: REST http://[::1]:8090/api/v1  health http://[::1]:8091/health/ready"
        "  OPC UA opc.tcp://[::1]:4850  Modbus [::1]:5050"
    )


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
