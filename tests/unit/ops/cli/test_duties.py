"""`calejo clean-out start|stop`: what it sends and prints (CTL-6)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from actors.messages import StartCleanOut, StopCleanOut
from actors.vocabulary import RefusedError
from tests.unit.api.served import SAFETY_1, Served, served
from tests.unit.ops.cli.runs import announce, run

Capsys = pytest.CaptureFixture[str]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def api(data: Path) -> Iterator[Served]:
    with served(data) as running:
        folder = announce(data, rest=running.rest)
        yield running
        folder.release()


def test_a_clean_out_is_ordered_and_ended_by_name(api: Served, data: Path, capsys: Capsys) -> None:
    """CTL-6: the operator's name, a reason, a bounded time."""
    words = ("clean-out", "start", "p1", "--reason", "grit", "--by", "ann", "--for", "2m", "--data-dir", data)
    told = run(capsys, *words)
    assert told.code == 0, told.err
    assert "taken" in told.out
    [order] = [message for _, message in api.tree.asked if isinstance(message, StartCleanOut)]
    assert (order.pump_id, order.by, order.reason, order.lasts_s) == ("p1", "local:ann", "grit", 120.0)
    told = run(capsys, "clean-out", "stop", "p1", "--reason", "done", "--by", "bob", "--data-dir", data)
    assert told.code == 0, told.err
    [end] = [message for _, message in api.tree.asked if isinstance(message, StopCleanOut)]
    assert (end.by, end.reason) == ("local:bob", "done")


def test_a_refusal_is_one_line_and_no_success(api: Served, data: Path, capsys: Capsys) -> None:
    """CTL-6: what safety says is what the operator reads."""
    api.tree.odd[SAFETY_1] = RefusedError("pump p1: the level is not GOOD")
    told = run(capsys, "clean-out", "start", "p1", "--reason", "grit", "--data-dir", data)
    assert told.code != 0
    assert "the level is not GOOD" in told.err
