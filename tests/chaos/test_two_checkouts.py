"""Two checkouts on one machine: each runs its own code in each of its processes, and neither meets the other."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from supervisors.process import alive
from tests.chaos.test_kills import pids
from tests.program import Program, until
from tests.unit.test_ground import PACKAGES, ROOT

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(180)]

# The first thing that every process of a tree does; the other checkout's also says that it ran.
BEGINS = "        birth.worker()\n"
SAYS = "        __import__('pathlib').Path({folder!r}, str(os.getpid())).touch()\n"


@pytest.fixture
def ran(tmp_path: Path) -> Path:
    """Where each process that runs the other checkout's code leaves its pid."""
    folder = tmp_path / "ran"
    folder.mkdir()
    return folder


@pytest.fixture
def other(tmp_path: Path, ran: Path) -> Iterator[Program]:
    """The demo of another checkout, whose code differs, on the same Python."""
    checkout = tmp_path / "checkout"
    for package in PACKAGES:
        # With its bytecode, which is as good as its source's time: another checkout has run before.
        shutil.copytree(ROOT / package, checkout / package)
    worker = checkout / "supervisors" / "on_ray" / "worker.py"
    text = worker.read_text()
    assert text.count(BEGINS) == 1, "the worker begins otherwise: say here how"
    worker.write_text(text.replace(BEGINS, BEGINS + SAYS.format(folder=str(ran))))
    program = Program(
        checkout / ".calejo",
        "--demo",
        environment={"PYTHONPATH": str(checkout)},
        # Not from the folder that it is started in, which is ours.
        calejo=(sys.executable, "-P", "-m", "ops.cli.main"),
    )
    try:
        yield program
    finally:
        if program.process is not None:
            program.stop()


def test_two_checkouts_side_by_side(demo: Program, other: Program, ran: Path) -> None:
    """Issue 2, SUP-1: another checkout runs its own code in each process, starts and ends; ours notices nothing."""
    ours = pids(demo)
    other.start().wait_ready()
    theirs = pids(other)
    assert theirs.keys() == ours.keys()
    assert not set(theirs.values()) & set(ours.values())
    began = {int(mark.name) for mark in ran.iterdir()}
    assert set(theirs.values()) <= began, "a process of the other tree runs code that is not its checkout's"
    assert not set(ours.values()) & began
    assert demo.get("/health/live", port=demo.health)["data_dir"] == str(demo.data_dir)
    assert other.get("/health/live", port=other.health)["data_dir"] == str(other.data_dir)
    assert other.stop() == 0
    until(lambda: not any(map(alive, theirs.values())), within_s=10, what="the end of the other tree")
    assert pids(demo) == ours
