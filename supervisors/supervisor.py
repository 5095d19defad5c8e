"""The supervisor's shell: root and site supervisors are this class with different data (SUP-2 to SUP-7)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Final, assert_never

from actors.messages import (
    ChildNews,
    Configure,
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
    DeviceError,
    InvalidValueError,
    Role,
    SiteConfig,
    Topology,
    UnknownSubjectError,
)
from actors.vocabulary.ids import ROOT
from supervisors import restart
from supervisors.announcements import Announcements
from supervisors.child_news import event_of, news
from supervisors.forking import birth
from supervisors.host import Later
from supervisors.lives import Lives
from supervisors.memory import Memory, Remembered
from supervisors.overview import tree_rows
from supervisors.restart import Child, ChildState, Effect, Event, TreeState
from supervisors.runtime import Runtime, StartOrder
from supervisors.spec import ChildSpec, GroupSpec, leaves, validate, walk
from supervisors.stopping import stop_in_reverse
from supervisors.tree import SITES, same_but_configuration

_NS_PER_S: Final = 1_000_000_000
_BEAT_S: Final = 1.0
_ADOPT_DEADLINE_S: Final = 1.5
# A configuration is told again on so many beats: the first tell may have been lost.
_CONFIGURE_TIMES: Final = 3
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
        self._state = TreeState()
        self._lives = Lives(ports, runtime, self._report)
        self._tell = Announcements(ports)
        self._configure_left: dict[Address, int] = {}
        self._missing: frozenset[Address] = frozenset()
        self._restarts = start.incarnation - 1
        self._beats = 0

    # ------------------------------------------------------------------ begin

    async def start(self) -> None:
        """Adopt the children that live and answer, end those that hang or belong nowhere, start the rest in order."""
        self._remember_start()
        known = self._remembered.sites
        sites = known or (() if self._start.site is None else (self._start.site,))
        self._tree = self._shape(sites, self._remembered.port_holder)
        validate(self._tree)
        await self._adopt()
        await self._end_orphans()
        self._step(restart.Begin())
        self._ports.timers.every(_BEAT_S, Tick())

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
        names = frozenset(await self._runtime.living())
        specs = [spec for spec in leaves(self._tree) if spec.address in names]
        answers = await asyncio.gather(
            *(self._runtime.adopt(spec.address, deadline_s=_ADOPT_DEADLINE_S) for spec in specs)
        )
        for spec, answer in zip(specs, answers, strict=True):
            if answer is None or spec.refused:
                self._ports.log.warning("child_not_adopted", child=spec.address)
                await self._runtime.kill_address(spec.address)
                continue
            life, stats = answer
            self._lives.attach(spec, life, stats)
            self._step(restart.Adopted(address=spec.address, incarnation=life.incarnation))
            self._configure_left[spec.address] = _CONFIGURE_TIMES
            self._ports.log.info("child_adopted", child=spec.address, incarnation=life.incarnation)

    async def _end_orphans(self) -> None:
        """End who lives here without a place in the tree; below a site supervisor of ours it is that one's matter."""
        own = self._start.address.rstrip("/") + "/"
        specs = leaves(self._tree)
        places = {spec.address for spec in specs} | {self._start.address}
        elsewhere = tuple(f"{spec.address}/" for spec in specs if spec.role is Role.SUPERVISOR)
        if self._start.address == ROOT and self._remembered.sites is None:
            elsewhere = (*elsewhere, f"{SITES}/")  # no topology is known: nobody of any site is ours to end
        for address in await self._runtime.living():
            if address.startswith(own) and address not in places and not address.startswith(elsewhere):
                self._ports.log.warning("orphan_ended", child=address)
                await self._runtime.kill_address(address)

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
                    self._start_child(address, incarnation)
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

    def _start_child(self, address: Address, incarnation: int) -> None:
        spec = self._spec(address)
        start = spec.start
        epoch = None
        if spec.role is Role.SAFETY and self._epochs is not None:
            assert start.station_id is not None, "a safety actor belongs to a station"
            try:
                epoch = self._epochs.issue(start.station_id)
            except DeviceError as error:  # without an epoch nothing may speak to a gate
                self._report(restart.StartFailed(address=address, incarnation=incarnation, why=str(error)))
                return
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
        self._lives.start(spec, StartOrder(start=told, mailbox_bound=spec.mailbox_bound))

    def _spec(self, address: Address) -> ChildSpec:
        return next(spec for spec in leaves(self._tree) if spec.address == address)

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
        for address, left in tuple(self._configure_left.items()):
            self._configure(address)
            if left <= 1:
                del self._configure_left[address]
            else:
                self._configure_left[address] = left - 1
        self._beats += 1
        if self._beats % _SWEEP_BEATS == 0:
            for spec in leaves(self._tree):
                child = self._state.children.get(spec.address, Child())
                if spec.role is Role.SUPERVISOR and child.state is ChildState.QUARANTINED:
                    self._lives.end_below(spec)
        self._tell.beat()

    def _configure(self, address: Address) -> None:
        spec = next((each for each in leaves(self._tree) if each.address == address), None)
        if spec is None or spec.start.site is None or address not in self._lives.living:
            return
        ref = self._ports.directory.ref(address)
        if spec.role is Role.SUPERVISOR:
            ref.tell(TopologyDiscovered(topology=Topology(revision="", sites=(spec.start.site,))))
        else:
            ref.tell(Configure(site=spec.start.site))

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
        tree = self._shape(sites, self._remembered.port_holder)
        try:
            validate(tree)
        except InvalidValueError as error:
            self._ports.log.warning("topology_refused", error=str(error))
            return
        old = {spec.address: spec for spec in leaves(self._tree)}
        self._tree = tree
        new = {spec.address: spec for spec in leaves(tree)}
        for address in old.keys() - new.keys():
            self._tell.gone(address)
        self._step(restart.Reshaped())
        for address, spec in new.items():
            former = old.get(address)
            if former is not None and former != spec and same_but_configuration(former, spec):
                self._configure_left[address] = _CONFIGURE_TIMES
                self._configure(address)
        self._remember_sites(sites)
        if first:
            await self._end_orphans()

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
        self._step(restart.Retry(address=address))
        return Done(note=f"{address} is started again")

    async def _view(self) -> TreeView:
        stats = {address: child.stats for address, child in self._lives.living.items()}
        rows = await tree_rows(self._tree, self._state, stats, self._ports.directory)
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
