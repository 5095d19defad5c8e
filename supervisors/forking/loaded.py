"""The template process as its host has it: started with its end of a socket pair, watched by a descriptor, ended."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import time
from pathlib import Path
from typing import Any, Final

from supervisors.forking import linux
from supervisors.forking.wire import Wire

# What templates print, in months of failing too.
LOG_BYTES_MAX: Final = 262_144
# A process that was killed and is not gone by then waits for a disk: nobody waits for it here.
_END_WITHIN_S: Final = 2.0


class Template:
    """The process that forks, as its host sees it."""

    def __init__(self, *, command: list[str], environment: dict[str, str], log: Path) -> None:
        ours, theirs = socket.socketpair()
        with theirs, contextlib.ExitStack() as undo:
            undo.callback(ours.close)
            with log.open("ab") as out:
                if out.tell() > LOG_BYTES_MAX:
                    out.truncate(0)
                self.process = subprocess.Popen(
                    [*command, str(theirs.fileno()), str(os.getpid())],
                    pass_fds=[theirs.fileno()],
                    env=environment,
                    stdin=subprocess.DEVNULL,
                    stdout=out,
                    stderr=out,
                )
            undo.callback(self.process.kill)
            self.pidfd = os.pidfd_open(self.process.pid)
            undo.pop_all()
        self.wire = Wire(ours)
        self.began_s = time.monotonic()
        self.ready: dict[str, Any] | None = None

    def end(self) -> None:
        """End it, whatever it does."""
        linux.kill(self.pidfd)
        if linux.ended(self.pidfd, within_s=_END_WITHIN_S):
            with contextlib.suppress(ChildProcessError):
                self.process.wait()
        os.close(self.pidfd)
        self.wire.close()
