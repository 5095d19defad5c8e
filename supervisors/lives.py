"""The living children of one supervisor process: started, watched, pinged and ended, one operation each at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, TypeAlias

import msgspec

from actors.messages import StopTree
from actors.runtime import Ports
from actors.vocabulary import Address, CalejoError, Instant, Role
from supervisors import starving
from supervisors.envelope import unanswered
from supervisors.restart import Ended, Event, Hung, Kill, Started, StartFailed
from supervisors.runtime import HostStats, Life, Runtime, StartOrder
from supervisors.spec import ChildSpec
from supervisors.tree import stop_blocks

# Cold starts are processor work: more at a time only make all of them late.
STARTS_AT_A_TIME: Final = 4
# A ping that failed while this process itself was held up says nothing about the child.
_OWN_DELAY_S: Final = 0.5
# How often a silent child's wait for a processor is looked at before its deadline: the last third decides.
_LOOKS_IN_A_DEADLINE: Final = 3
# Of a supervisor's shutdown time, what is left for ending its own process after its tree.
_OWN_END_S: Final = 1.0

# What to start and how, as of the moment when its turn has come; None when nobody waits for it any more.
Order: TypeAlias = Callable[[], tuple[ChildSpec, StartOrder] | None]


class LivingChild(msgspec.Struct, kw_only=True):
    """One child's life with its watchers; mutable, owned by `Lives`."""

    life: Life
    spec: ChildSpec
    stats: HostStats
    # Since when it has answered nothing, over pings that this process was too late to judge.
    silent_since: Instant | None = None
    cancels: tuple[Callable[[], None], ...] = ()


class Lives:
    """Performs starts and ends, and reports what happens as events (through the supervisor's mailbox)."""

    def __init__(self, ports: Ports, runtime: Runtime, report: Callable[[Event], None]) -> None:
        self._ports = ports
        self._runtime = runtime
        self._report = report
        self.living: dict[Address, LivingChild] = {}
        self._locks: dict[Address, asyncio.Lock] = {}
        self._slots = asyncio.Semaphore(STARTS_AT_A_TIME)
        # Whose end the runtime refused, and whether all below it is to end as well.
        self._owed: dict[tuple[Address, int], tuple[LivingChild, bool]] = {}
        self._ending_below: set[Address] = set()

    def _lock(self, address: Address) -> asyncio.Lock:
        return self._locks.setdefault(address, asyncio.Lock())

    # ------------------------------------------------------------------ begin

    def start(self, address: Address, incarnation: int, order: Order) -> None:
        """Start a child in the background; `Started` or `StartFailed` follows, unless `order` says that nobody waits.

        `order` is asked when the child's turn has come: configurations change while many wait for their start.
        """
        self._ports.tasks.spawn(self._start(address, incarnation, order), name=f"start {address}")

    async def _start(self, address: Address, incarnation: int, order: Order) -> None:
        async with self._lock(address), self._slots:
            try:
                ordered = order()
                if ordered is None:
                    return
                spec, told = ordered
                life, stats = await self._runtime.start(told, deadline_s=spec.start_deadline_s)
            except CalejoError as error:
                self._report(StartFailed(address=address, incarnation=incarnation, why=str(error)))
                return
            self.attach(spec, life, stats)
        self._report(Started(address=address, incarnation=incarnation))

    def attach(self, spec: ChildSpec, life: Life, stats: HostStats) -> None:
        """Watch and ping a living child from now on."""
        self._detach(life.address)
        child = LivingChild(life=life, spec=spec, stats=stats)
        self.living[life.address] = child
        spawn = self._ports.tasks.spawn
        child.cancels = (
            spawn(self._watch(child), name=f"watch {life.address}"),
            spawn(self._ping(child), name=f"ping {life.address}"),
        )

    def _detach(self, address: Address) -> LivingChild | None:
        child = self.living.pop(address, None)
        for cancel in child.cancels if child is not None else ():
            cancel()
        return child

    # ------------------------------------------------------------------ watch

    async def _watch(self, child: LivingChild) -> None:
        why = await self._runtime.watch(child.life)
        if self.living.get(child.life.address) is child:
            del self.living[child.life.address]
            for cancel in child.cancels[1:]:
                cancel()
        self._report(Ended(address=child.life.address, incarnation=child.life.incarnation, why=why))

    async def _ping(self, child: LivingChild) -> None:
        while True:
            await self._ports.clock.sleep(child.spec.liveness_period_s)
            try:
                child.stats = await self._sign_of_life(child) or child.stats
            except CalejoError as error:
                life = child.life
                self._report(Hung(address=life.address, incarnation=life.incarnation, why=str(error)))
                return

    async def _sign_of_life(self, child: LivingChild) -> HostStats | None:
        """Return its answer, or None when there is none to be had and that is not its fault.

        It has the liveness deadline, and longer only while it is seen to wait for a processor or this process was
        held up itself. Silent for so long already, it has one look in which neither was the case; and twice as long
        is too long for any reason.

        Raises:
            UnavailableError: it has gone silent.

        """
        deadline_s, life = child.spec.liveness_deadline_s, child.life
        look_s = deadline_s / _LOOKS_IN_A_DEADLINE
        looks_max = starving.DEADLINES_MAX * _LOOKS_IN_A_DEADLINE
        patience_s = starving.DEADLINES_MAX * deadline_s
        began = self._ports.clock.now()
        silent_since, child.silent_since = child.silent_since or began, None
        silent_s = began.seconds_since(silent_since)
        overdue = silent_s >= patience_s
        waited_s, before_s = 0.0, self._runtime.processor_wait_s(life) if overdue else None
        answer = asyncio.ensure_future(self._runtime.ping(life, deadline_s=2.0 * looks_max * look_s))
        try:
            for look in range(1, looks_max + 1):
                await asyncio.wait({answer}, timeout=look * look_s - waited_s)
                waited_s = self._ports.clock.now().seconds_since(began)
                if answer.done():
                    return _unless_dead(answer)
                if waited_s > look * look_s + _OWN_DELAY_S and silent_s + waited_s < 2.0 * patience_s:
                    child.silent_since = silent_since
                    return None  # we were held up ourselves
                judged = overdue or look >= _LOOKS_IN_A_DEADLINE
                after_s = (
                    self._runtime.processor_wait_s(life)
                    if judged or look + 1 >= _LOOKS_IN_A_DEADLINE
                    else None
                )
                if judged and not starving.starved(before_s, after_s, within_s=look_s):
                    break
                if look == _LOOKS_IN_A_DEADLINE:
                    self._ports.log.warning("child_starves", child=life.address, waited_s=round(waited_s, 1))
                before_s = after_s
        finally:
            answer.cancel()
        raise unanswered(life.address, f"no sign of life within {silent_s + waited_s:.1f} s")

    # ------------------------------------------------------------------ end

    def kill(self, effect: Kill) -> None:
        """End this incarnation by force, in the background."""
        child = self.living.get(effect.address)
        if child is not None and child.life.incarnation == effect.incarnation:
            self._detach(effect.address)
            self._ports.tasks.spawn(self._killed(child), name=f"kill {effect.address}")

    async def _killed(self, child: LivingChild) -> None:
        async with self._lock(child.life.address):
            await self._or_owed(child, self._runtime.kill(child.life), below=False)

    async def _or_owed(self, child: LivingChild, end: Awaitable[None], *, below: bool) -> None:
        """Do what ends `child`; what the runtime refuses now is said and owed."""
        try:
            await end
        except CalejoError as error:
            self._ports.log.warning("not_ended", child=child.life.address, error=str(error))
            self._owed[child.life.address, child.life.incarnation] = (child, below)

    def end_owed(self) -> None:
        """Try again to end those whose end was refused, as while Ray's control store is away, in the background."""
        owed, self._owed = self._owed, {}
        for (address, _), (child, below) in owed.items():
            self._ports.tasks.spawn(self._ended(child, below=below), name=f"end {address}")

    async def _ended(self, child: LivingChild, *, below: bool) -> None:
        async with self._lock(child.life.address):
            # With a successor that lives, all below is watched again.
            below = below and child.life.address not in self.living
            await self._or_owed(child, self._end(child, below=below), below=below)

    async def _end(self, child: LivingChild, *, below: bool) -> None:
        await self._runtime.kill(child.life)
        if below:
            await self.sweep(child.life.address)

    def stop(self, address: Address) -> None:
        """End a child in order, in the background; by force after its shutdown time."""
        self._ports.tasks.spawn(self.stopped(address), name=f"stop {address}")

    async def stopped(self, address: Address, *, at_most_s: float | None = None) -> None:
        """End a child in order and return when nothing of it is left.

        `at_most_s` shortens its shutdown time; with nothing left of it the child is killed at once.
        """
        async with self._lock(address):
            child = self._detach(address)
            if child is None:
                return
            below = child.spec.role is Role.SUPERVISOR
            await self._or_owed(child, self._stopped(child, at_most_s, below=below), below=below)

    async def _stopped(self, child: LivingChild, at_most_s: float | None, *, below: bool) -> None:
        budget_s = child.spec.shutdown_s if at_most_s is None else min(child.spec.shutdown_s, at_most_s)
        if budget_s <= 0.0:
            await self._runtime.kill(child.life)
        else:
            await self._stop(child, budget_s)
        if below:
            await self.sweep(child.life.address)

    async def _stop(self, child: LivingChild, budget_s: float) -> None:
        if child.spec.role is Role.SUPERVISOR:
            tree_s = max(budget_s - _OWN_END_S, budget_s / 2.0)
            try:
                ref = self._ports.directory.ref(child.life.address)
                await ref.ask(StopTree(budget_s=tree_s), deadline_s=tree_s + _OWN_END_S / 2.0)
            except CalejoError as error:
                self._ports.log.warning("subtree_not_stopped", child=child.life.address, error=str(error))
        await self._runtime.stop(child.life, timeout_s=min(budget_s, child.spec.shutdown_s))

    def end_below(self, spec: ChildSpec) -> None:
        """End all that still lives below a supervisor that is tried no more, in the background.

        Nobody would watch it any longer. Said again it ends what was still being started the first time.
        """
        if spec.address not in self._ending_below:
            self._ending_below.add(spec.address)
            self._ports.tasks.spawn(self._end_below(spec), name=f"end below {spec.address}")

    async def _end_below(self, spec: ChildSpec) -> None:
        prefix = f"{spec.address}/"
        try:
            async with self._lock(spec.address):
                if spec.address in self.living:
                    return  # it runs again: all below is watched
                living = [each for each in await self._runtime.living() if each.startswith(prefix)]
                for together in stop_blocks(spec, living):
                    self._ports.log.warning("ended_unwatched", below=spec.address, children=list(together))
                    await asyncio.gather(*(self._runtime.kill_address(each) for each in together))
        except CalejoError as error:  # it is said again at the next look
            self._ports.log.warning("not_ended", child=f"{spec.address}/", error=str(error))
        finally:
            self._ending_below.discard(spec.address)

    async def sweep(self, address: Address) -> None:
        """Kill whatever still lives below `address`: detached children outlive a supervisor that was killed.

        Raises:
            UnavailableError: the runtime does not say who lives, or does not end them.

        """
        prefix = address.rstrip("/") + "/"
        below = [each for each in await self._runtime.living() if each.startswith(prefix) and each != address]
        await asyncio.gather(*(self._runtime.kill_address(each) for each in below))


def _unless_dead(answer: asyncio.Future[HostStats]) -> HostStats | None:
    """Return the answer; None when the call failed: that is a death, and the watch reports it with its reason."""
    if answer.cancelled() or isinstance(answer.exception(), CalejoError):
        return None
    return answer.result()
