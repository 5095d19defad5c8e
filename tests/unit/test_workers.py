"""The worker beside the trees of real processes gives way to them, whatever session those live in."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
GROUP = Path("/proc/self/autogroup")
GIVES_WAY = """
import os, pathlib, sys
sys.path.insert(0, sys.argv[1])
from tests import conftest
conftest._give_way()
print(os.getsid(0) == os.getpid(), os.nice(0), pathlib.Path("/proc/self/autogroup").read_text().split()[-1])
"""


@pytest.mark.skipif(not GROUP.exists(), reason="this kernel does not group processes by session")
def test_a_worker_that_gives_way_is_a_session_of_low_priority() -> None:
    """OPS-6: niceness counts within a session only, so the worker leaves ours, and its own is nice as a whole."""
    done = subprocess.run(
        [sys.executable, "-c", GIVES_WAY, str(ROOT)], capture_output=True, text=True, timeout=60, check=True
    )
    own_session, nice, group = done.stdout.split()
    assert own_session == "True"
    assert int(nice) >= 10
    assert int(group) == 10
