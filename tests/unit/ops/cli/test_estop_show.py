"""`calejo estop show`: goal: exit 0 means that the motors stand, and nothing else does."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ops.cli.estop_show import is_carried_out
from tests.unit.api.served import TOPOLOGY, Memory, Served, served
from tests.unit.ops.cli.runs import announce, run, save_plant, trust

Capsys = pytest.CaptureFixture[str]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def api(data: Path, tmp_path: Path) -> Iterator[Served]:
    with served(tmp_path, memory=Memory(TOPOLOGY)) as running:
        folder = announce(data, rest=running.rest)
        trust(data, tmp_path)
        save_plant(data)
        yield running
        folder.release()


def stopped(api: Served) -> str:
    answer = api.post(
        "/api/v1/emergency-stops", {"scope": "PUMP", "scope_id": "p1", "reason": "r", "by": "anna"}
    )
    return str(answer.json()["stop_id"])


def test_a_stop_that_is_carried_out_is_done(api: Served, data: Path, capsys: Capsys) -> None:
    """EST-1: each endpoint published, each controller echoed, each pump measured stopped; the same as JSON."""
    stop_id = stopped(api)
    shown = run(capsys, "estop", "show", stop_id, "--data-dir", data)
    assert shown.code == 0
    assert shown.out.startswith("emergency stop of PUMP p1 by anna since ")
    assert shown.out.count("measured stopped") == 2
    listed = run(capsys, "estop", "show", stop_id, "--format", "json", "--data-dir", data)
    assert [pump["stopped"] for pump in listed.json()["pumps"]] == [True, True]


def test_it_waits_for_controllers_that_have_not_written_yet(api: Served, data: Path, capsys: Capsys) -> None:
    """EST-1: the stop is set, nothing is heard yet: 1 at once; with --wait, until they write."""
    api.tree.controller_answers = False
    stop_id = stopped(api)
    now = run(capsys, "estop", "show", stop_id, "--data-dir", data)
    assert now.code == 1
    assert "nothing heard since" in now.out
    assert run(capsys, "estop", "show", stop_id, "--wait", "0.6s", "--data-dir", data).code == 1

    def write() -> None:
        api.tree.controller_answers = True

    timer = threading.Timer(0.3, write)
    timer.start()
    try:
        waited = run(capsys, "estop", "show", stop_id, "--wait", "30s", "--data-dir", data)
    finally:
        timer.join()
    assert waited.code == 0
    assert waited.seconds < 20.0


def test_setting_a_stop_says_how_to_see_the_motors_stand(api: Served, data: Path, capsys: Capsys) -> None:
    """EST-1: only where something is still to be waited for."""
    arguments = ("estop", "set", "--scope", "pump", "--id", "p1", "--reason", "r", "--data-dir", data)
    assert "estop show" not in run(capsys, *arguments).out
    api.tree.controller_answers = False
    assert "until the motors stand: calejo estop show " in run(capsys, *arguments).out


def test_an_unknown_stop_is_refused(api: Served, data: Path, capsys: Capsys) -> None:
    """EST-2: 4, in one line."""
    assert "not known" in run(capsys, "estop", "show", "nobody", "--data-dir", data).line(4)


@pytest.mark.parametrize(
    ("changes", "done"),
    [
        ({}, True),
        ({"pumps": [{"pump_id": "p1", "stopped": True}, {"pump_id": "p1", "stopped": None}]}, False),
        ({"pumps": [{"pump_id": "p1", "stopped": False}]}, False),
        ({"pumps": []}, True),
        ({"endpoints": []}, False),
        ({"endpoints": [{"published": True}, {"published": False}]}, False),
        ({"cleared_by": "bert", "endpoints": []}, True),
    ],
)
def test_what_counts_as_carried_out(changes: dict[str, Any], done: bool) -> None:
    """EST-1: every endpoint, every pump, and silence is no standstill; a stop that was cleared is over."""
    stop = {
        "cleared_by": None,
        "endpoints": [{"published": True}],
        "pumps": [{"pump_id": "p1", "stopped": True}],
        **changes,
    }
    assert is_carried_out(stop) is done
