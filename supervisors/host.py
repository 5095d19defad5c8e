"""Hosts one plain actor: its mailbox, one message at a time, its ports, its end. The same on both runtimes."""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Callable, Coroutine
from typing import Any, Final

import msgspec

from actors.messages import URGENT, Message, coalescing_key
from actors.runtime import Actor, Clock, Directory, Log, Ports, Tasks, Timers
from actors.vocabulary import Address, CalejoError
from supervisors.envelope import Answer, Deadline, unanswered
from supervisors.mailbox import Asker, Envelope, Mailbox
from supervisors.runtime import HostStats, StartOrder, settings_mark

_NS_PER_S: Final = 1_000_000_000
# Answers that an actor finishes beside its mailbox (`Later`); more are refused.
LATER_MAX: Final = 32
# A tell that is refused again and again is logged at most this often; the count goes on.
_REFUSAL_LOG_PERIOD_S: Final = 10.0

Token = asyncio.Future[Answer]


class Later:
    """What `handle` may return when the answer needs waiting: the host finishes it beside the mailbox."""

    def __init__(self, coroutine: Coroutine[Any, Any, object]) -> None:
        self.coroutine = coroutine


class _Ping:
    """Asks the host for a sign of life through the mailbox."""


class _HostTimers(Timers):
    def __init__(self, host: Host) -> None:
        self._host = host

    def every(self, period_s: float, message: object, *, first_after_s: float | None = None) -> None:
        first_s = period_s if first_after_s is None else first_after_s
        self._host.background(self._beat(period_s, message, first_s), name=f"every:{type(message).__name__}")

    def after(self, delay_s: float, message: object) -> None:
        self._host.background(self._once(delay_s, message), name=f"after:{type(message).__name__}")

    def deliver(self, message: object) -> None:
        self._host.tell(message)

    async def _once(self, delay_s: float, message: object) -> None:
        await self._host.clock.sleep(delay_s)
        self._host.tell(message)

    async def _beat(self, period_s: float, message: object, first_s: float) -> None:
        clock = self._host.clock
        due_ns = clock.now().boot_ns + round(first_s * _NS_PER_S)
        while True:
            await clock.sleep(max(0.0, (due_ns - clock.now().boot_ns) / _NS_PER_S))
            self._host.tell(message)
            # Beats missed while the process was held up are left out: they say nothing that one beat does not.
            due_ns = max(due_ns + round(period_s * _NS_PER_S), clock.now().boot_ns)


class _HostTasks(Tasks):
    def __init__(self, host: Host) -> None:
        self._host = host

    def spawn(self, coroutine: Coroutine[Any, Any, None], *, name: str) -> Callable[[], None]:
        task = self._host.background(coroutine, name=name)
        return lambda: None if task.done() else (task.cancel(), None)[1]


class HostPorts(Ports):
    """What the hosted actor is handed."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._timers = _HostTimers(host)
        self._tasks = _HostTasks(host)

    @property
    def address(self) -> Address:
        """The actor's own address."""
        return self._host.address

    @property
    def clock(self) -> Clock:
        """Time."""
        return self._host.clock

    @property
    def directory(self) -> Directory:
        """Other actors."""
        return self._host.directory

    @property
    def timers(self) -> Timers:
        """Messages to itself."""
        return self._timers

    @property
    def log(self) -> Log:
        """Its log."""
        return self._host.log

    @property
    def tasks(self) -> Tasks:
        """Its background work."""
        return self._tasks


class Surroundings(msgspec.Struct, frozen=True, kw_only=True):
    """What a runtime gives to a host: clock, directory, log, and what this process is."""

    clock: Clock
    directory: Directory
    log: Log
    # (pid, node id, resident MiB) of this process, and how many tells it lost on the way out.
    me: Callable[[], tuple[int | None, str | None, float | None]]
    lost_tells: Callable[[], int]
    # Called once when the actor has come to an end of its own: the reason, '' for an ordered end.
    ended: Callable[[str], None]


class Host:
    """Runs one actor. Not thread-safe: everything happens on one event loop."""

    def __init__(self, order: StartOrder, make: Callable[[Ports], Actor], surroundings: Surroundings) -> None:
        self.address = order.start.address
        self.clock = surroundings.clock
        self.directory = surroundings.directory
        self.log = surroundings.log
        self._incarnation = order.start.incarnation
        self._data_dir = order.start.settings.data_dir
        self._settings_mark = settings_mark(order.start.settings)
        self._make = make
        self._around = surroundings
        self._mail: Mailbox[Token] = Mailbox(order.mailbox_bound)
        self._some = asyncio.Event()
        self._actor: Actor | None = None
        self._worker: asyncio.Task[None] | None = None
        self._background: set[asyncio.Task[Any]] = set()
        self._later = 0
        self._handled = 0
        self._expired = 0
        self._stopping = False
        self._over = False
        self._tell_errors = 0
        self._tell_error_logged_ns: int | None = None

    # ------------------------------------------------------------------ life

    async def start(self) -> None:
        """Make the actor, await its `start()` and begin with the mailbox.

        Raises whatever constructor and `start()` raise; the host is then of no further use.
        """
        assert self._actor is None, "a host starts once"
        self._actor = self._make(HostPorts(self))
        starter = getattr(self._actor, "start", None)
        if starter is not None:
            await starter()
        self._worker = asyncio.create_task(self._work(), name="mailbox")

    async def stop(self) -> None:
        """Finish the message at hand, await the actor's `stop()`, end its timers and tasks, refuse what waits."""
        self._stopping = True
        self._some.set()
        if self._worker is not None:
            await self._worker
        stopper = getattr(self._actor, "stop", None)
        try:
            if stopper is not None:
                await stopper()
        finally:
            for task in tuple(self._background):
                task.cancel()
            await asyncio.gather(*self._background, return_exceptions=True)
            while (envelope := self._mail.take()) is not None:
                self._answer(envelope.askers, Answer(error=unanswered(self.address, "is stopping")))
            self._end("")

    def _end(self, reason: str) -> None:
        if not self._over:
            self._over = True
            self._around.ended(reason)

    def _crash(self, error: BaseException, *, during: str) -> None:
        if self._over:
            return
        trace = "".join(traceback.format_exception(error))
        self.log.error("actor_crashed", during=during, error=repr(error), traceback=trace)
        self._end(f"crashed during {during}: {error!r}"[:500])

    def background(self, coroutine: Coroutine[Any, Any, object], *, name: str) -> asyncio.Task[Any]:
        """Run `coroutine` until it ends or the actor does; one that raises ends the actor."""
        task: asyncio.Task[Any] = asyncio.create_task(coroutine, name=name)
        self._background.add(task)
        task.add_done_callback(self._background_done)
        return task

    def _background_done(self, task: asyncio.Task[Any]) -> None:
        self._background.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._crash(error, during=task.get_name())

    # ------------------------------------------------------------------ what comes in

    def tell(self, message: object) -> bool:
        """Take a message that nobody waits for; return False (and count) when it was refused."""
        return self._put(Envelope(message))

    async def ask(self, message: object, deadline: Deadline) -> Answer:
        """Take a message and wait for its answer; typed errors come back as data."""
        token: Token = asyncio.get_running_loop().create_future()
        expires_ns = deadline.here(self.clock.now())
        if not self._put(Envelope(message, (Asker(token, expires_ns),), told=False)):
            why = "is stopping" if self._stopping or self._over else "its mailbox is full"
            return Answer(error=unanswered(self.address, why))
        return await token

    async def ping(self) -> HostStats:
        """Answer through the mailbox, urgently: a stuck handler gives no sign of life."""
        token: Token = asyncio.get_running_loop().create_future()
        if self._mail.put(Envelope(_Ping(), (Asker(token, 0),), told=False), urgent=True):
            self._some.set()
            await token
        return self.stats()

    def stats(self) -> HostStats:
        """Return who this is and how it fares."""
        pid, node_id, rss_mib = self._around.me()
        counts = self._mail.counts
        return HostStats(
            address=self.address,
            incarnation=self._incarnation,
            started=self._worker is not None and not self._stopping,
            pid=pid,
            node_id=node_id,
            rss_mib=rss_mib,
            mailbox_depth=counts.waiting,
            refused=counts.refused,
            expired=self._expired,
            coalesced=counts.coalesced,
            handled=self._handled,
            lost_tells=self._around.lost_tells(),
            data_dir=self._data_dir,
            settings_mark=self._settings_mark,
        )

    @property
    def hosted(self) -> Actor | None:
        """The plain actor itself, None before its start (scenarios look inside; processes never do)."""
        return self._actor

    @property
    def starting(self) -> bool:
        """Whether `start()` has not come to its end yet."""
        return self._worker is None

    def _put(self, envelope: Envelope[Token]) -> bool:
        if self._stopping or self._over:
            return False
        message = envelope.message
        key = coalescing_key(message) if isinstance(message, Message) else None
        taken = self._mail.put(envelope, urgent=type(message) in URGENT, key=key)
        self._some.set()
        return taken

    # ------------------------------------------------------------------ one at a time

    async def _work(self) -> None:
        while not self._stopping and not self._over:
            envelope = self._mail.take()
            if envelope is None:
                self._some.clear()
                await self._some.wait()
                continue
            await self._one(envelope)
            # A handler that never waits must not starve timers, servers and the way in.
            await asyncio.sleep(0)

    async def _one(self, envelope: Envelope[Token]) -> None:
        if isinstance(envelope.message, _Ping):
            self._answer(envelope.askers, Answer())
            return
        now_ns = self.clock.now().boot_ns
        late = tuple(asker for asker in envelope.askers if asker.expires_boot_ns <= now_ns)
        askers = tuple(asker for asker in envelope.askers if asker.expires_boot_ns > now_ns)
        if late:
            self._expired += len(late)
            self._answer(late, Answer(error=unanswered(self.address, "the deadline passed before its turn")))
        if not askers and not envelope.told:
            return
        self._handled += 1
        assert self._actor is not None
        try:
            result = await self._actor.handle(envelope.message)
        except CalejoError as refusal:
            self._refused(envelope, askers, refusal)
        except Exception as bug:  # noqa: BLE001  whatever else is raised is ours: the process ends, supervision acts
            self._crash(bug, during=type(envelope.message).__name__)
        else:
            if isinstance(result, Later):
                self._finish_later(result, askers)
            else:
                self._answer(askers, Answer(value=result))

    def _refused(
        self, envelope: Envelope[Token], askers: tuple[Asker[Token], ...], error: CalejoError
    ) -> None:
        self._answer(askers, Answer(error=error))
        if not envelope.told:
            return
        self._tell_errors += 1
        now_ns = self.clock.now().boot_ns
        last_ns = self._tell_error_logged_ns
        if last_ns is None or now_ns - last_ns >= _REFUSAL_LOG_PERIOD_S * _NS_PER_S:
            self._tell_error_logged_ns = now_ns
            name = type(envelope.message).__name__
            self.log.warning("tell_refused", message=name, error=repr(error), total=self._tell_errors)

    def _finish_later(self, later: Later, askers: tuple[Asker[Token], ...]) -> None:
        if self._later >= LATER_MAX:
            later.coroutine.close()
            self._answer(
                askers, Answer(error=unanswered(self.address, "too many answers are being prepared"))
            )
            return
        self._later += 1
        self.background(self._later_answer(later, askers), name="later")

    async def _later_answer(self, later: Later, askers: tuple[Asker[Token], ...]) -> None:
        try:
            self._answer(askers, Answer(value=await later.coroutine))
        except CalejoError as refusal:
            self._answer(askers, Answer(error=refusal))
        finally:
            self._later -= 1

    @staticmethod
    def _answer(askers: tuple[Asker[Token], ...], answer: Answer) -> None:
        for asker in askers:
            if not asker.token.done():
                asker.token.set_result(answer)
