"""`calejo node status` and `reload`: what a person is told, and the exit code that a script sees."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ops.cli.main import main
from supervisors.forking import service
from supervisors.forking.protocol import RELOAD
from supervisors.forking.service import NODE_STATE, State

_SAID: dict[str, Any] = {
    "pid": 1, "template": 2, "ready": {}, "off": "", "forked": 7, "cold": {"too slow": 1}, "refused": 0, "reloads": 0,
    "templates_lost": 0,
}  # fmt: skip


def _announced(data_dir: Path) -> list[str]:
    (data_dir / NODE_STATE).write_text(json.dumps({"socket": "/no/host", "token": "00" * 32}))
    return ["--data-dir", str(data_dir), "--format", "json"]


def _host_says(monkeypatch: pytest.MonkeyPatch, **changes: object) -> None:
    def ask(state: State, kind: int) -> dict[str, Any]:
        assert state.socket == "/no/host"
        why = {"why": changes.get("why", "")} if kind == RELOAD else {}
        return {**_SAID, **changes, **why}

    monkeypatch.setattr(service, "ask", ask)


def test_nothing_runs_here(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """SUP-8: nothing announced, and something announced by a run that was killed: exit 3 and one line."""
    for arguments in (["--data-dir", str(tmp_path)], _announced(tmp_path)):
        for verb in ("status", "reload"):
            assert main(["node", verb, *arguments]) == 3
            assert "nothing that forks processes runs" in capsys.readouterr().err


def test_status_tells_why_it_is_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """SUP-8: a status is no failure, whatever it says."""
    _host_says(monkeypatch, off="the raylet has ended")
    assert main(["node", "status", *_announced(tmp_path)]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert (row["of"], row["forked"], row["why"]) == ("node", 7, "the raylet has ended")


@pytest.mark.parametrize(("why", "code"), [("", 0), ("SyntaxError: no Python", 1)])
def test_a_reload_that_failed_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], why: str, code: int
) -> None:
    """SUP-8: exit 1 and the reason when the new code cannot be loaded."""
    _host_says(monkeypatch, why=why)
    assert main(["node", "reload", *_announced(tmp_path)]) == code
    assert (f"not reloaded, the former code serves on: {why}" in capsys.readouterr().err) is bool(code)
