"""A plain Ray actor that tells what process it runs in, and how to start one; importable in workers."""

from __future__ import annotations

import asyncio
import atexit
import os
import random
import resource
import signal
import uuid
from pathlib import Path
from typing import Any

import ray

from supervisors.forking import birth


def sockets_of(pid: int) -> set[str]:
    """Return what the process has open, apart from devices and log files: sockets, pipes, event queues."""
    found = set()
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        try:
            target = str(entry.readlink())
        except FileNotFoundError:
            continue
        if target.startswith(("socket:", "pipe:")):
            found.add(target)
    return found


def limits_of(pid: int) -> dict[str, list[int]]:
    """Return the soft and hard resource limits of a process."""
    names = [name for name in dir(resource) if name.startswith("RLIMIT_")]
    return {name: list(resource.prlimit(pid, getattr(resource, name))) for name in names}


def threads_of(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/task").iterdir()))


def zombies_below(pids: set[int]) -> list[str]:
    """Return the dead children that these processes have not reaped."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            stat = (entry / "stat").read_text()
        except OSError:
            continue
        state, parent = stat.rpartition(")")[2].split()[:2]
        if state == "Z" and int(parent) in pids:
            found.append(stat[:60])
    return found


class Looker:
    """Looks at its own process."""

    async def __init__(self) -> None:  # type: ignore[misc]  # Ray awaits it
        birth.worker()

    async def pid(self) -> int:
        return os.getpid()

    async def joined(self) -> None:
        await asyncio.Event().wait()

    async def mark(self) -> object:
        """Return what a changed module says."""
        import actors.vocabulary

        return vars(actors.vocabulary).get("MARK")

    async def leave_a_mark(self, path: str) -> None:
        """End as Ray ends an actor; what is registered for the end of the interpreter makes a file."""
        atexit.register(Path(path).touch)
        ray.actor.exit_actor()  # type: ignore[no-untyped-call]

    async def draws(self) -> dict[str, object]:
        """Draw from every source of chance."""
        import multiprocessing
        import secrets
        import ssl
        import tempfile

        from ray._raylet import ObjectID, PlacementGroupID, UniqueID

        return {
            "random": random.random(),
            "state": hash(random.getstate()),
            "uuid": uuid.uuid4().hex,
            "secrets": secrets.token_hex(8),
            "openssl": ssl.RAND_bytes(8).hex(),
            "multiprocessing": bytes(multiprocessing.current_process().authkey).hex(),
            "tempfile": next(tempfile._get_candidate_names()),  # type: ignore[attr-defined]
            "ray unique": UniqueID.from_random().hex(),
            "ray object": ObjectID.from_random().hex(),
            "ray c++": PlacementGroupID.of(ray.JobID.from_int(1)).hex(),
        }

    async def facts(self) -> dict[str, Any]:
        """Return what the raylet gives to a worker at its start."""
        status = Path("/proc/self/status").read_text()
        lines = dict(line.split(":", 1) for line in status.splitlines() if ":" in line)
        umask = lines["Umask"].strip()
        return {
            "birth": birth.how(),
            "pid": os.getpid(),
            "nice": os.getpriority(os.PRIO_PROCESS, 0),
            "oom": Path("/proc/self/oom_score_adj").read_text().strip(),
            "own group": os.getpgid(0) == os.getpid(),
            "umask": umask,
            "limits": limits_of(os.getpid()),
            "processors": sorted(os.sched_getaffinity(0)),
            "blocked": lines["SigBlk"].strip(),
            "ignored": lines["SigIgn"].strip(),
            "caught": lines["SigCgt"].strip(),
            "sigchld": str(signal.getsignal(signal.SIGCHLD)),
            "cwd": str(Path.cwd()),
            "environment": dict(os.environ),
            "main": __import__("__main__").__file__,
        }


def looker() -> Any:
    """Start one with the options of our own workers."""
    options: dict[str, Any] = {"num_cpus": 0, "max_restarts": 0, "max_concurrency": 1000}
    return ray.remote(**options)(Looker).remote()
