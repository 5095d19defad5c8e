"""A temporary folder that lives as long as its process: what a killed one left behind goes at the next start."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
from pathlib import Path
from typing import Final, Self

_OWNER: Final = "owner"
# Between the folder and its lock there is a moment in which it looks like nobody's.
_YOUNG_S: Final = 60.0


class OwnedFolder:
    """A folder whose owner holds a lock in it; the lock ends with the owner, however it ends."""

    def __init__(self, path: Path, lock: int) -> None:
        self.path = path
        self._lock = lock

    @classmethod
    def make(cls, parent: Path, *, prefix: str) -> Self:
        """Make a new folder, and remove those of the same user and prefix whose owner has died.

        Raises:
            OSError: the disk refuses.

        """
        path = Path(tempfile.mkdtemp(prefix=prefix, dir=parent))
        _sweep(parent, prefix, now_s=path.lstat().st_mtime)
        lock = os.open(path / _OWNER, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(lock, fcntl.LOCK_EX)
        return cls(path, lock)

    def remove(self) -> None:
        """Remove the folder; safe to call twice."""
        if self._lock < 0:
            return
        shutil.rmtree(self.path, ignore_errors=True)
        os.close(self._lock)
        self._lock = -1


def _sweep(parent: Path, prefix: str, *, now_s: float) -> None:
    for path in parent.glob(f"{prefix}*"):
        with contextlib.suppress(OSError):  # gone meanwhile, or not ours to look at
            told = path.lstat()
            if told.st_uid != os.getuid() or now_s - told.st_mtime < _YOUNG_S:
                continue
            lock = os.open(path / _OWNER, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(path, ignore_errors=True)
            finally:
                os.close(lock)
