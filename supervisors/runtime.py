"""The port between supervisors and what runs actors: Ray or the simulation."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeAlias

import msgspec

from actors.runtime import Actor, Directory, Ports
from actors.start import WorkerStart
from actors.vocabulary import Address, Settings
from supervisors.mailbox import BOUND_DEFAULT


class HostStats(msgspec.Struct, frozen=True, kw_only=True):
    """An actor's answer to a liveness ping: who it is and how it fares (SUP-7)."""

    address: str
    incarnation: int
    started: bool
    pid: int | None
    node_id: str | None
    rss_mib: float | None
    mailbox_depth: int
    refused: int
    expired: int
    coalesced: int
    handled: int
    lost_tells: int
    # 'forked' or 'cold' (supervisors/forking); None where processes are not started by Ray.
    birth: str | None = None
    # Whose tree it belongs to: its data directory, and `settings_mark` of the settings it was started with.
    data_dir: str = ""
    settings_mark: str = ""


def settings_mark(settings: Settings) -> str:
    """Return what is equal for equal settings and tells nothing of them (they hold passwords)."""
    return hashlib.sha256(msgspec.json.encode(settings, order="deterministic")).hexdigest()


class StartOrder(msgspec.Struct, frozen=True, kw_only=True):
    """All a runtime needs to start one actor."""

    start: WorkerStart
    mailbox_bound: int = BOUND_DEFAULT
    # Only the root: Ray starts it again when it dies, because nobody of ours would.
    immortal: bool = False


class Life(msgspec.Struct, frozen=True):
    """One incarnation of one actor as the runtime knows it; `handle` is the runtime's own.

    `pid`: its process, where that is on this machine and known.
    """

    address: Address
    incarnation: int
    handle: Any
    pid: int | None = None


class Runtime(Protocol):
    """Starts, watches, pings and ends actors. Every error is an `UnavailableError` naming the actor."""

    @property
    def directory(self) -> Directory:
        """Finds actors by address."""
        ...

    @property
    def run_id(self) -> str:
        """What tells this run of the tree from any other: the same for all its processes and their restarts."""
        ...

    def me(self) -> tuple[int | None, str | None, float | None]:
        """Return this process's pid, node id and resident memory in MiB."""
        ...

    async def start(self, order: StartOrder, *, deadline_s: float) -> tuple[Life, HostStats]:
        """Start an actor, wait until its `start()` is done, return it with its first sign of life.

        A failed start leaves nothing behind.

        Raises:
            UnavailableError: it could not be started, or not in time; the text says why.

        """
        ...

    async def adopt(self, address: Address, *, deadline_s: float) -> tuple[Life, HostStats] | None:
        """Return the living actor of that name if it answers as started within the deadline, else None.

        Raises:
            UnavailableError: the runtime cannot say who has that name.

        """
        ...

    async def watch(self, life: Life) -> str:
        """Return when `life` has ended, with the reason ('' for an ordered end)."""
        ...

    async def ping(self, life: Life, *, deadline_s: float) -> HostStats:
        """Ask for a sign of life through the actor's own mailbox.

        Raises:
            UnavailableError: none came in time.

        """
        ...

    def processor_wait_s(self, life: Life) -> float | None:
        """Return how long it has waited for a processor so far (`supervisors.starving`); None: nobody knows."""
        ...

    async def stop(self, life: Life, *, timeout_s: float) -> None:
        """End it in order, and by force when it has not ended after `timeout_s`.

        Raises:
            UnavailableError: the runtime does not do it now.

        """
        ...

    async def kill(self, life: Life) -> None:
        """End it by force, at once.

        Raises:
            UnavailableError: the runtime does not do it now.

        """
        ...

    async def living(self) -> Sequence[Address]:
        """Return the addresses of all actors alive in this tree.

        Raises:
            UnavailableError: the runtime does not say.

        """
        ...

    async def kill_address(self, address: Address) -> None:
        """End whoever lives there by force; nobody there is fine.

        Raises:
            UnavailableError: the runtime does not do it now.

        """
        ...


# Makes the plain actor of a role from its ports, start arguments and (for supervisors) the runtime.
MakeActor: TypeAlias = Callable[[Ports, WorkerStart, Runtime], Actor]
