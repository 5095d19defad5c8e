"""The template refuses to fork from a state that a fork cannot take over. A real process, without Ray's import."""

from __future__ import annotations

import ast
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from supervisors.forking import preload
from supervisors.forking.wire import Wire

ROOT = Path(__file__).parents[4]
START = """
import sys, threading, os, types
sys.path.insert(0, {root!r})
from supervisors.forking import preload, guard
guard.reason_against = lambda: {reason!r}
def load():
    {load}
    return []
preload.load = load
from supervisors.forking import template
sys.argv = ["template", {number!r}, {parent!r}]
template.main()
"""


def _said(load: str, reason: str = "") -> dict[str, Any]:
    ours, theirs = socket.socketpair()
    with theirs:
        text = START.format(
            root=str(ROOT), load=load, number=str(theirs.fileno()), parent=str(os.getpid()), reason=reason
        )
        process = subprocess.Popen(
            [sys.executable, "-c", text],
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
    wire = Wire(ours)
    try:
        return wire.receive(within_s=30.0)
    finally:
        wire.close()
        process.wait(10)


@pytest.mark.parametrize(
    ("load", "why"),
    [
        ("threading.Thread(target=threading.Event().wait, daemon=True).start()", "2 threads"),
        ("global kept; kept = open('/dev/null')", "descriptors open"),
        ("sys.modules['numpy'] = types.ModuleType('numpy')", "numpy"),
        ("raise ImportError('no such thing')", "no such thing"),
    ],
    ids=["thread", "descriptor", "numpy", "import"],
)
def test_it_refuses_a_state_that_no_fork_can_take_over(load: str, why: str) -> None:
    """SUP-8: one thread, no descriptor of an import's, every source of chance known: else workers start cold."""
    assert why in _said(load)["why"]


def test_it_refuses_another_ray() -> None:
    """SUP-8: the guard speaks in the template too, which may be started after an upgrade on disk."""
    assert _said("pass", reason="Ray is 3.0")["why"].endswith("Ray is 3.0")


def test_it_says_that_it_is_ready_with_one_thread() -> None:
    """SUP-8: nothing imported, nothing wrong: it serves, until its host lets go."""
    said = _said("pass")
    assert said["threads"] == 1
    assert "why" not in said


@pytest.mark.parametrize("module", ["roles", "adapters"])
def test_it_preloads_what_the_roles_import(module: str) -> None:
    """SUP-8: what roles import lazily when they begin is in the list: a fork imports nothing."""
    tree = ast.parse((ROOT / "supervisors" / f"{module}.py").read_text())
    lazily = {
        name
        for function in ast.walk(tree)
        if isinstance(function, ast.FunctionDef)
        for node in ast.walk(function)
        if isinstance(node, ast.ImportFrom) and node.module
        for name in (
            [f"supervisors.{alias.name}" for alias in node.names]
            if node.module == "supervisors"
            else [node.module]
        )
    }
    assert lazily
    assert lazily <= set(preload.OURS)
