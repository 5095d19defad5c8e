"""References to Ray actors by name: resolved off the loop, cached, resolved again after a death (DESIGN)."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import ray
from ray.exceptions import PendingCallsLimitExceeded, RayActorError, RayError

from actors.runtime import Clock, Directory, Ref
from actors.vocabulary import Address, UnavailableError
from supervisors.envelope import Answer, Deadline, unanswered, unconfirmed

# Tells that wait while their receiver is looked up; more are lost and counted.
_WAITING_MAX: Final = 64
# After a name was not found, tells to it are lost for this long before it is looked up again: a name server is
# not to be asked at the rate of the telling.
_UNKNOWN_FOR_NS: Final = 100_000_000
# ray.core.generated.gcs_pb2.ActorTableData.ActorState.DEAD
_DEAD: Final = 4


def died(handle: Any) -> bool:
    """Whether this process already heard that the actor is dead (a local look-up, no message)."""
    core: Any = vars(ray._private.worker.global_worker)["core_worker"]  # noqa: SLF001  the public way blocks
    return bool(core.get_local_actor_state(handle._actor_id) == _DEAD)  # noqa: SLF001


class RayRef(Ref):
    """One address; finds whoever lives there now."""

    def __init__(self, directory: RayDirectory, address: Address) -> None:
        self._directory = directory
        self._address = address
        self._handle: Any = None
        self._looking: asyncio.Task[Any] | None = None
        self._waiting: list[object] = []
        self._unknown_until_ns = 0

    @property
    def address(self) -> Address:
        """Where it lives."""
        return self._address

    async def ask(self, message: object, *, deadline_s: float) -> Any:
        """Send and wait for the answer (see `actors.runtime.Ref`)."""
        deadline = Deadline.after(self._directory.clock.now(), deadline_s)
        name = type(message).__name__
        # From the moment it is sent, nobody can say whether it was carried out.
        failed = unanswered
        try:
            async with asyncio.timeout(deadline_s):
                handle = await self._found()
                if handle is None:
                    raise unanswered(self._address, "no such actor")
                sent = handle.ask.remote(message, deadline)
                failed = unconfirmed
                answer = await sent
        except TimeoutError:
            raise failed(self._address, f"no answer to {name} within {deadline_s} s") from None
        except RayActorError:
            self._handle = None
            raise failed(self._address, f"died before it answered {name}") from None
        except (RayError, PendingCallsLimitExceeded) as error:
            raise failed(self._address, f"{name} could not be sent: {error!r}"[:300]) from None
        assert isinstance(answer, Answer)
        return answer.unwrap()

    def tell(self, message: object) -> None:
        """Send and forget: at once when the receiver is known, otherwise as soon as it is found."""
        handle = self._known()
        if handle is not None:
            self._send(handle, message)
        elif (self._looking is None and self._directory.clock.now().boot_ns < self._unknown_until_ns) or len(
            self._waiting
        ) >= _WAITING_MAX:
            self._directory.lost += 1
        else:
            self._waiting.append(message)
            self._look()

    def _send(self, handle: Any, message: object) -> None:
        try:
            handle.tell.remote(message)
        except (RayError, PendingCallsLimitExceeded):
            self._directory.lost += 1

    def _known(self) -> Any:
        if self._handle is not None and died(self._handle):
            self._handle = None
        return self._handle

    async def _found(self) -> Any:
        known = self._known()
        # Shielded: a caller whose deadline passes must not end the look-up for the others.
        return known if known is not None else await asyncio.shield(self._look())

    def _look(self) -> asyncio.Task[Any]:
        if self._looking is None:
            self._looking = asyncio.get_running_loop().create_task(self._look_up())
        return self._looking

    async def _look_up(self) -> Any:
        handle = await self._directory.handle_of(self._address)
        self._looking = None
        waiting, self._waiting = self._waiting, []
        if handle is None or died(handle):
            self._unknown_until_ns = self._directory.clock.now().boot_ns + _UNKNOWN_FOR_NS
            self._directory.lost += len(waiting)
            return None
        self._handle = handle
        for message in waiting:
            self._send(handle, message)
        return handle


class RayDirectory(Directory):
    """The references of one process. Use it from one event loop."""

    def __init__(self, namespace: str, clock: Clock) -> None:
        self.clock = clock
        self.lost = 0
        self._namespace = namespace
        self._refs: dict[Address, RayRef] = {}
        self._threads = ThreadPoolExecutor(max_workers=2, thread_name_prefix="names")

    def ref(self, address: Address) -> Ref:
        """Return the reference for `address`; the actor need not exist yet."""
        known = self._refs.get(address)
        if known is None:
            known = self._refs[address] = RayRef(self, address)
        return known

    async def handle_of(self, address: Address) -> Any:
        """Return the handle of whoever lives there now, None when nobody does or the name server is away."""
        try:
            return await self.holder_of(address)
        except UnavailableError:
            return None

    async def holder_of(self, address: Address) -> Any:
        """Return the handle of whoever has that name now, None when nobody has.

        The look-up blocks (some ms, far longer while Ray's control store is away), hence the thread.

        Raises:
            UnavailableError: the name server is away.

        """
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, self._handle_of, address)
        except RayError as error:
            raise unanswered(address, f"cannot be looked up: {error!r}"[:300]) from None

    def _handle_of(self, address: Address) -> Any:
        try:
            return ray.get_actor(address, namespace=self._namespace)
        except ValueError:
            return None
