"""The supervisor's shell: root and site supervisors are this class with different data (SUP-2 to SUP-7)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Final, assert_never

from actors.messages import (
    ChildNews,
    Done,
    GetTree,
    RetryChild,
    StopTree,
    SupervisorInbox,
    Tick,
    TopologyDiscovered,
    TreeNode,
    TreeView,
)
from actors.runtime import Ports
from actors.start import WorkerStart
from actors.stores import EpochStore
from actors.vocabulary import (
    Address,
    CalejoError,
    DeviceError,
    InvalidValueError,
    RefusedError,
    Role,
    SiteConfig,
    Topology,
    UnknownSubjectError,
)
from actors.vocabulary.ids import ROOT
from supervisors import restart
from supervisors.announcements import Announcements
from supervisors.child_news import event_of, news
from supervisors.configuring import Configuring
from supervisors.forking import birth
from supervisors.found import find, is_orphan
from supervisors.host import Later
from supervisors.lives import Lives
from supervisors.memory import Memory, Remembered
from supervisors.overview import tree_rows
from supervisors.restart import Child, ChildState, Effect, Event, TreeState
from supervisors.runtime import Runtime, StartOrder
from supervisors.spec import ChildSpec, GroupSpec, leaves, validate, walk
from supervisors.stopping import stop_in_reverse
from supervisors.tree import same_but_configuration
from supervisors.unwatched import UNWATCHED_MAX_S, Unwatched

_NS_PER_S: Final = 1_000_000_000
_BEAT_S: Final = 1.0
# A process that a dead supervisor was just starting comes up only after its others were ended.
_SWEEP_BEATS: Final = 5

# Makes the tree from the sites known and the one that has the common ports.
Shape = Callable[[Sequence[SiteConfig], str | None], GroupSpec]


class EscalatedError(RuntimeError):
    """The top group gave up: this process ends, and its parent restarts it."""


class Supervisor:
    """Starts its children in order, watches them, restarts them by the law, and tells what becomes of them."""

    def __init__(
        self,
        ports: Ports,
        start: WorkerStart,
        runtime: Runtime,
        *,
        shape: Shape,
        epochs: EpochStore | None,
        memory: Memory,
    ) -> None:
        self._ports = ports
        self._start = start
        self._runtime = runtime
        self._shape = shape
        self._epochs = epochs
        self._memory = memory
        self._remembered = Remembered()
        self._tree = GroupSpec(address=start.address)
        self._specs: dict[Address, ChildSpec] = {}
        self._state = TreeState()
        self._lives = Lives(ports, runtime, self._report)
        self._tell = Announcements(ports)
        self._configuring = Configuring(ports, self._lives, self._known)
        self._unwatched = Unwatched()
        self._orphans_due = False
        self._missing: frozenset[Address] = frozenset()
        self._restarts = start.incarnation - 1
        self._beats = 0

    # ------------------------------------------------------------------ begin

    async def start(self) -> None:
        """Adopt the children that live and answer, end those that hang or belong nowhere, start the rest in order."""
        self._remember_start()
        known = self._remembered.sites
        sites = known or (() if self._start.site is None else (self._start.site,))
        self._grow(self._shape(sites, self._remembered.port_holder))
        await self._adopt()
        await self._end_orphans()
        self._step(restart.Begin())
        self._ports.timers.every(_BEAT_S, Tick())

    def _grow(self, tree: GroupSpec) -> None:
        validate(tree)
        self._tree = tree
        self._specs = {spec.address: spec for spec in leaves(tree)}

    def _remember_start(self) -> None:
        remembered = self._memory.load()
        same_run = remembered.run_id == self._runtime.run_id
        self._remembered = Remembered(
            sites=remembered.sites,
            port_holder=remembered.port_holder,
            run_id=self._runtime.run_id,
            starts=remembered.starts + 1 if same_run else 1,
        )
        if self._start.address == ROOT:
            self._restarts = self._remembered.starts - 1
        self._save()

    def _save(self) -> None:
        try:
            self._memory.save(self._remembered)
        except DeviceError as error:  # it works on: what is lost is only the memory of the last topology
            self._ports.log.warning("memory_not_saved", error=str(error))

    async def _adopt(self) -> None:
        for spec, answer in await find(self._runtime, self._specs):
            if answer is None or spec.refused:
                self._ports.log.warning("child_not_adopted", child=spec.address)
                await self._runtime.kill_address(spec.address)
                continue
            life, stats = answer
            self._lives.attach(spec, life, stats)
            self._step(restart.Adopted(address=spec.address, incarnation=life.incarnation))
            self._configuring.adopted(spec.address)
            self._ports.log.info("child_adopted", child=spec.address, incarnation=life.incarnation)

    async def _end_orphans(self) -> None:
        """End who lives here without a place in the tree."""
        for address in await self._runtime.living():
            # Each is judged at its turn: in the background the tree changes meanwhile.
            known = self._start.address != ROOT or self._remembered.sites is not None
            if is_orphan(address, below=self._start.address, specs=self._specs, sites_known=known):
                self._ports.log.warning("orphan_ended", child=address)
                await self._runtime.kill_address(address)

    async def _end_orphans_due(self) -> None:
        """End orphans in the background; what the runtime refuses now is done at a later sweep."""
        self._orphans_due = False
        try:
            await self._end_orphans()
        except CalejoError as error:
            self._ports.log.warning("orphans_not_ended", error=str(error))
            self._orphans_due = True

    # ------------------------------------------------------------------ messages

    async def handle(self, message: SupervisorInbox) -> object:
        """Take one message; see `actors.messages` for what each means."""
        match message:
            case Tick():
                self._beat()
            case TopologyDiscovered(topology=topology):
                await self._reshape(topology)
            case GetTree():
                return Later(self._view())
            case RetryChild(child=child):
                return self._retry(Address(child))
            case StopTree(budget_s=budget_s):
                return Later(self._stop_tree(budget_s))
            case ChildNews():
                self._step(event_of(message))
            case _:
                assert_never(message)
        return None

    def _report(self, event: Event) -> None:
        self._ports.timers.deliver(news(event))

    def _step(self, event: Event) -> None:
        clock = self._ports.clock
        before = self._state
        self._state, effects = restart.decide(
            self._tree, before, event, now_s=clock.now().boot_ns / _NS_PER_S, chance=clock.random()
        )
        self._tell_of(event, before)
        for effect in effects:
            self._perform(effect)

    def _perform(self, effect: Effect) -> None:
        match effect:
            case restart.Start(address=address, incarnation=incarnation, after_s=after_s):
                if after_s > 0.0:
                    due = ChildNews(child=address, incarnation=incarnation, what="due")
                    self._ports.timers.after(after_s, due)
                else:
                    self._lives.start(address, incarnation, partial(self._order, address, incarnation))
            case restart.Stop(address=address):
                self._lives.stop(address)
            case restart.Kill():
                self._lives.kill(effect)
            case restart.Quarantine(address=address, why=why):
                self._ports.log.error("child_quarantined", child=address, why=why)
                self._quarantined(self._spec(address), why)
            case restart.Escalate(why=why):
                raise EscalatedError(why)
            case _:
                assert_never(effect)

    def _quarantined(self, spec: ChildSpec, why: str) -> None:
        """Say so; and leave nobody below it to work on unwatched: the leases run out, the wires fall silent (SUP-5)."""
        if spec.role is Role.SUPERVISOR:
            why = f"{why}; all below it is ended, the stations are on their local levels"
            self._lives.end_below(spec)
        self._tell.quarantined(spec, why)

    def _order(self, address: Address, incarnation: int) -> tuple[ChildSpec, StartOrder] | None:
        """Return what to start, with the newest configuration; None when it was overtaken by another decision.

        Raises:
            DeviceError: the disk refuses an epoch, and without one nothing may speak to a gate.

        """
        child = self._state.children.get(address, Child())
        if child.state is not ChildState.STARTING or child.incarnation != incarnation:
            return None
        spec = self._spec(address)
        start = spec.start
        epoch = None
        if spec.role is Role.SAFETY and self._epochs is not None:
            assert start.station_id is not None, "a safety actor belongs to a station"
            epoch = self._epochs.issue(start.station_id)
        told = WorkerStart(
            role=start.role,
            address=start.address,
            settings=start.settings,
            site=start.site,
            station_id=start.station_id,
            pump_id=start.pump_id,
            epoch=epoch,
            incarnation=incarnation,
        )
        return spec, StartOrder(start=told, mailbox_bound=spec.mailbox_bound)

    def _spec(self, address: Address) -> ChildSpec:
        return self._specs[address]

    def _known(self, address: Address) -> ChildSpec | None:
        return self._specs.get(address)

    def _tell_of(self, event: Event, before: TreeState) -> None:
        """Log and announce what an event means to people."""
        match event:
            case restart.Started(address=address):
                if self._state.children.get(address, Child()).state is not ChildState.RUNNING:
                    return
                spec = self._spec(address)
                running = sum(each.state is ChildState.RUNNING for each in self._state.children.values())
                total = len(self._state.children)
                self._ports.log.info("child_started", child=address, running=running, total=total)
                self._configuring.started(address)
                self._tell.started(spec)
                if spec.role is Role.SAFETY:
                    self._tell.safety_started(spec)
            case restart.StartFailed(address=address, why=why) | restart.Ended(address=address, why=why):
                self._tell_of_failure(address, why, before)
            case restart.Hung(address=address, why=why):
                self._tell_of_failure(address, f"hangs: {why}", before)
            case _:
                return

    def _tell_of_failure(self, address: Address, why: str, before: TreeState) -> None:
        child, former = self._state.children.get(address), before.children.get(address)
        if child is None or child == former or self._state.stopping:
            return
        self._ports.log.warning("child_failed", child=address, why=why, state=child.state.value)
        if child.state is not ChildState.QUARANTINED:
            self._tell.failed(self._spec(address), why or "ended")

    # ------------------------------------------------------------------ the beat

    def _beat(self) -> None:
        missing = frozenset(
            address
            for address, child in self._state.children.items()
            if child.state is ChildState.RUNNING and address not in self._lives.living
        )
        # Twice in a row: news of its end is on the way after the first, and got lost after the second.
        for address in sorted(missing & self._missing):
            incarnation = self._state.children[address].incarnation
            self._step(restart.Ended(address=address, incarnation=incarnation, why="ended unnoticed"))
        self._missing = missing
        self._configuring.beat()
        self._beats += 1
        if self._beats % _SWEEP_BEATS == 0:
            self._sweep()
        self._tell.beat()

    def _sweep(self) -> None:
        """End whom nobody watches, and those whose end was refused before."""
        before = self._unwatched.ended
        specs, now = tuple(self._specs.values()), self._ports.clock.now()
        for spec in self._unwatched.look(specs, self._state.children, now):
            self._lives.end_below(spec)
            child = self._state.children[spec.address]
            if spec.address not in before and child.state is not ChildState.QUARANTINED:
                why = f"away for {UNWATCHED_MAX_S:.0f} s and tried on ({child.last_error})"
                self._ports.log.error("site_unwatched", child=spec.address, why=why)
                self._tell.unwatched(
                    spec, f"{why}; all below it is ended, the stations are on their local levels"
                )
        self._lives.end_owed()
        if self._orphans_due:
            self._ports.tasks.spawn(self._end_orphans_due(), name="end orphans")

    # ------------------------------------------------------------------ a new topology

    async def _reshape(self, topology: Topology) -> None:
        if self._state.stopping:
            return
        sites = topology.sites
        if self._start.address != ROOT:
            sites = tuple(
                site for site in sites if self._start.site and site.site_id == self._start.site.site_id
            )
            if not sites:
                return  # a site that is gone is stopped by its parent
        first = self._start.address == ROOT and self._remembered.sites is None
        tree, old = self._shape(sites, self._remembered.port_holder), self._specs
        try:
            self._grow(tree)
        except InvalidValueError as error:
            self._ports.log.warning("topology_refused", error=str(error))
            return
        new = self._specs
        for address in old.keys() - new.keys():
            self._tell.gone(address)
        self._step(restart.Reshaped())
        for address, spec in new.items():
            former = old.get(address)
            if former is not None and former != spec and same_but_configuration(former, spec):
                self._configuring.changed(address)
        self._remember_sites(sites)
        if first:
            self._ports.tasks.spawn(self._end_orphans_due(), name="end orphans")

    def _remember_sites(self, sites: tuple[SiteConfig, ...]) -> None:
        served = [
            spec.start.site.site_id
            for spec in leaves(self._tree)
            if spec.role is Role.SUPERVISOR and spec.start.site is not None and not spec.refused
        ]
        own = {site_id for site_id, each in self._start.settings.sites.items() if each.ports is not None}
        holder = next((site_id for site_id in served if site_id not in own), None)
        now = Remembered(
            sites=sites,
            port_holder=holder,
            run_id=self._remembered.run_id,
            starts=self._remembered.starts,
        )
        if now != self._remembered:
            self._remembered = now
            self._save()

    # ------------------------------------------------------------------ people

    def _retry(self, address: Address) -> Done:
        if not any(spec.address == address for spec in walk(self._tree)):
            raise UnknownSubjectError(f"{address} is no child of {self._start.address}")
        if why := restart.retry_refusal(self._tree, self._state, address):
            raise RefusedError(f"{address}: {why}")
        self._step(restart.Retry(address=address))
        return Done(note=f"{address} is started again")

    async def _view(self) -> TreeView:
        stats = {address: child.stats for address, child in self._lives.living.items()}
        rows = await tree_rows(
            self._tree,
            self._state,
            stats,
            self._ports.directory,
            now=self._ports.clock.now(),
            ended=self._unwatched.ended,
        )
        return TreeView(nodes=(self._own_row(), *rows))

    def _own_row(self) -> TreeNode:
        pid, node_id, rss_mib = self._runtime.me()
        return TreeNode(
            address=self._start.address,
            role=Role.SUPERVISOR,
            kind="process",
            state=(ChildState.STOPPED if self._state.stopping else ChildState.RUNNING).value,
            pid=pid,
            node_id=node_id,
            restarts=self._restarts,
            last_error="",
            mailbox_depth=None,
            rss_mib=rss_mib,
            birth=birth.how(),
        )

    # ------------------------------------------------------------------ the end

    async def _stop_tree(self, budget_s: float) -> Done:
        now = self._ports.clock.now()
        self._state, _ = restart.decide(
            self._tree, self._state, restart.StopAll(), now_s=now.boot_ns / _NS_PER_S, chance=0.0
        )
        await stop_in_reverse(leaves(self._tree), self._lives, self._ports, until=now.plus(budget_s))
        await self._lives.sweep(self._start.address)
        return Done(note="nothing is left")
