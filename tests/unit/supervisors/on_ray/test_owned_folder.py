"""A temporary folder that ends with its process."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from supervisors.on_ray.owned_folder import OwnedFolder

_KILLED = """
import os, signal, sys
from pathlib import Path
from supervisors.on_ray.owned_folder import OwnedFolder
print(OwnedFolder.make(Path(sys.argv[1]), prefix="own-").path, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def left_behind(parent: Path) -> Path:
    """Return the folder of a process that was killed."""
    done = subprocess.run(
        [sys.executable, "-c", _KILLED, str(parent)], capture_output=True, text=True, timeout=60, check=False
    )
    return Path(done.stdout.strip())


def age(path: Path) -> None:
    os.utime(path, (0, 0))


def test_what_a_killed_process_left_goes_at_the_next_start(tmp_path: Path) -> None:
    """HA-1: kill -9 leaves a folder, and the next run takes it away."""
    old = left_behind(tmp_path)
    assert old.is_dir()
    age(old)
    new = OwnedFolder.make(tmp_path, prefix="own-")
    assert not old.exists()
    assert new.path.is_dir()
    new.remove()
    new.remove()
    assert list(tmp_path.iterdir()) == []


def test_a_living_owners_folder_stays(tmp_path: Path) -> None:
    """HA-1: two runs side by side do not take each other's folder, however old."""
    first = OwnedFolder.make(tmp_path, prefix="own-")
    age(first.path)
    second = OwnedFolder.make(tmp_path, prefix="own-")
    assert first.path.is_dir()
    first.remove()
    second.remove()


def test_a_folder_that_is_no_ones_stays(tmp_path: Path) -> None:
    """HA-1: without the owner's file it is somebody else's, and a young one may just be in the making."""
    other = tmp_path / "own-other"
    other.mkdir()
    age(other)
    young = left_behind(tmp_path)
    OwnedFolder.make(tmp_path, prefix="own-").remove()
    assert other.is_dir()
    assert young.is_dir()
