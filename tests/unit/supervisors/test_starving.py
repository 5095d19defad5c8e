"""Who waits for a processor: figures of Linux, and what is made of them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from supervisors.starving import SHARE, processor_wait_s, starved
from tests.program import until


def proc(root: Path, **threads: str) -> Path:
    for number, figures in threads.items():
        thread = root / "7" / "task" / number.removeprefix("t")
        thread.mkdir(parents=True)
        (thread / "schedstat").write_text(figures)
    return root


def test_the_waits_of_all_threads_count(tmp_path: Path) -> None:
    """SUP-3: the second figure, in ns, of every thread."""
    root = proc(tmp_path, t7="5 2000000000 9\n", t8="1 500000000 1\n")
    assert processor_wait_s(7, proc=root) == 2.5


@pytest.mark.parametrize("figures", ["", "5", "5 x 9", "0 0"])
def test_a_kernel_that_counts_nothing_excuses_nobody(tmp_path: Path, figures: str) -> None:
    """SUP-3: what cannot be read is not known, and what is not known is no excuse."""
    known = processor_wait_s(7, proc=proc(tmp_path, t7=figures))
    assert known == (0.0 if figures == "0 0" else None)
    assert not starved(known, known, within_s=1.0)


def test_a_process_that_has_gone_is_not_known(tmp_path: Path) -> None:
    """SUP-3: it ended between two looks."""
    assert processor_wait_s(7, proc=tmp_path) is None


def test_half_of_the_time_decides() -> None:
    """SUP-3: less than that any busy machine shows."""
    assert starved(10.0, 10.0 + SHARE, within_s=1.0)
    assert not starved(10.0, 10.0 + SHARE - 0.01, within_s=1.0)
    assert not starved(None, 10.0, within_s=1.0)
    assert not starved(10.0, None, within_s=1.0)
    assert not starved(10.0, 11.0, within_s=0.0)


@contextmanager
def busy(count: int, processor: int) -> Iterator[list[int]]:
    """So many processes that want all of one processor."""
    code = f"import os\nos.sched_setaffinity(0, {{{processor}}})\nprint(flush=True)\nwhile True: pass"
    running = [subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) for _ in range(count)]
    try:
        for each in running:
            assert each.stdout is not None
            each.stdout.readline()
        yield [each.pid for each in running]
    finally:
        for each in running:
            each.kill()
            each.communicate()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux counts it")
def test_linux_says_who_waits() -> None:
    """SUP-3: of three that share a processor each waits; one that sleeps waits for none."""
    with busy(3, min(os.sched_getaffinity(0))) as pids:
        first = [processor_wait_s(pid) for pid in pids]
        assert None not in first

        def grown() -> bool:
            now = [processor_wait_s(pid) for pid in pids]
            return all(
                b is not None and a is not None and b - a > 0.2 for a, b in zip(first, now, strict=True)
            )

        until(grown, within_s=20.0, what="waits that grow")
    with subprocess.Popen(["sleep", "60"]) as asleep:
        try:
            before = processor_wait_s(asleep.pid)
            assert before is not None
            assert not starved(before, processor_wait_s(asleep.pid), within_s=1.0)
        finally:
            asleep.kill()
