"""Looking at processes: goal: figures of the right process, and nobody forgotten. Method: real child processes."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import pytest

from ops.bench.processes import Family, command_line, memory, processor_s, used_s
from supervisors.process import rss_mib

# A child that has a child; both wait for ever. The inner one ignores SIGTERM: only SIGKILL ends it.
PARENT = """
import subprocess, sys, time
inner = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(600)"
child = subprocess.Popen([sys.executable, "-c", inner], stdout=subprocess.PIPE)
child.stdout.readline()
print(child.pid, flush=True)
time.sleep(600)
"""


@pytest.fixture
def parent() -> Iterator[tuple[subprocess.Popen[str], int]]:
    with subprocess.Popen(
        [sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        assert process.stdout is not None
        child = int(process.stdout.readline())
        try:
            yield process, child
        finally:
            process.kill()
            if command_line(child):
                os.kill(child, 9)


def spin_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        sum(range(10_000))  # what is waited for is that time is used


def test_memory_agrees_with_the_kernels_other_account() -> None:
    """OPS-5: RSS as statm tells it (within a tenth: the heap moves), and what is private is part of it."""
    found = memory(os.getpid())
    resident = rss_mib(os.getpid())
    assert found is not None
    assert resident is not None
    assert found.rss_mib == pytest.approx(resident, rel=0.1)
    assert 0 < found.private_mib <= found.rss_mib


def test_a_process_that_is_gone_has_no_figures() -> None:
    """OPS-5: a kill between two looks is no error and no zero."""
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    assert memory(gone.pid) is None
    assert command_line(gone.pid) == ""
    assert processor_s(gone.pid) == 0.0


def test_processor_time_is_counted_between_two_looks() -> None:
    """OPS-5: what was used before does not count, nor does a process that came later."""
    before = {os.getpid(): processor_s(os.getpid())}
    spin_until(lambda: processor_s(os.getpid()) > before[os.getpid()] + 0.05)
    assert 0.05 < used_s(before, [os.getpid(), os.getppid()]) < 5


def test_a_family_remembers_orphans_and_ends_them(parent: tuple[subprocess.Popen[str], int]) -> None:
    """OPS-5: a grandchild that outlives its parent is found by what was seen before, and ended."""
    process, child = parent
    family = Family(process.pid)
    assert family.look() == [child]
    process.terminate()
    process.wait()
    assert family.wait_gone(0.2) == [child]
    family.kill()
    assert family.wait_gone(10) == []
