"""One story from one seed: a site grows, faults strike, then they end and every pump has to come back."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from actors.messages import EndpointStatus, GetEndpoint, RetryChild
from actors.vocabulary import CalejoError
from actors.vocabulary.ids import ROOT, endpoint_address, site_address
from supervisors.simulated.runtime import SimRuntime, simulate
from tests.simulation.faults import Performer
from tests.simulation.inspector import Finding
from tests.simulation.schedule import AnyFault, Draw
from tests.simulation.site import SimSite

GROWN_S: Final = 30.0
FAULTS_S: Final = 90.0
# Hand-back holds for 60 s, so does a third lapse; a back-off lasts up to 30 s; and one may follow the other.
RECOVERED_S: Final = 240.0
WRITTEN_S: Final = 60.0
_POLL_S: Final = 1.0
_FRESH_S: Final = 3.0
# Most worlds are one small station: they run fastest, and a fault finds its victim sooner.
_WORLDS: Final = ((2,), (2,), (1,), (0,), (2,), (1,), (1, 2), (0,))


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a story ended: what was found, what the gates refused and why, which faults truly struck and how often, its
    trace, and the last events before the first finding.
    """

    findings: tuple[Finding, ...]
    refused: Counter[str]
    struck: Counter[str]
    trace_hash: str
    faults: tuple[AnyFault, ...]
    seconds: float
    tail: tuple[str, ...]

    def told(self, seed: int) -> str:
        """Tell it to whoever has to find the cause, the one command that replays it first."""
        return "\n".join(
            (
                f"seed {seed} found {len(self.findings)}; to replay it:",
                f"  CALEJO_SEED={seed} make pytest ARGS='tests/simulation -k site'",
                *(f"  {finding}" for finding in self.findings[:12]),
                "faults:",
                *(f"  {fault}" for fault in self.faults),
                "last events:",
                *(f"  {line}" for line in self.tail[-40:]),
            )
        )


def drawn(seed: int) -> tuple[SimSite, tuple[AnyFault, ...]]:
    """Draw the site of `seed` and its faults."""
    site = SimSite(seed, random.Random(f"world:{seed}").choice(_WORLDS))
    return site, Draw(seed, site.config, site.addresses()).story(seconds=FAULTS_S)


def tell(seed: int, *, story: tuple[AnyFault, ...] | None = None, recovers: bool = True) -> Outcome:
    """Tell the story of `seed`, or another one in its site; without `recovers` it ends with the faults."""
    site, faults = drawn(seed)
    faults = faults if story is None else story

    async def scenario(world: SimRuntime) -> Outcome:
        site.enter(world)
        site.write_plans()
        others = [asyncio.create_task(site.controllers.run()), asyncio.create_task(site.look())]
        try:
            return await _play(site, faults, recovers=recovers)
        finally:
            for task in others:
                task.cancel()
            for outcome in await asyncio.gather(*others, return_exceptions=True):
                if isinstance(outcome, Exception):
                    raise outcome

    return simulate(seed, site.make, scenario)


async def _play(site: SimSite, faults: tuple[AnyFault, ...], *, recovers: bool) -> Outcome:
    world, inspector = site.world, site.inspector

    def well() -> bool:
        return not inspector.findings and not _crashes(world)

    await site.start()
    await _until(site, lambda: under_control(site), within_s=GROWN_S, well=well)
    performer = Performer(site)
    if well():
        await performer.perform(faults, seconds=FAULTS_S, going_on=well)
    if well() and recovers:
        await performer.bring_order()
        await _recovered(site, well)
    return Outcome(
        findings=(*inspector.findings, *_crashes(world)),
        refused=await _refused(site),
        struck=_struck(site, performer),
        trace_hash=world.trace_hash(),
        faults=faults,
        seconds=world.elapsed_s,
        tail=inspector.before_the_first or tuple(world.tail),
    )


def _struck(site: SimSite, performer: Performer) -> Counter[str]:
    """Return how often each fault struck: by kind, and what the network, the disk and the database did of it."""
    felt = {
        **{f"message {what}": count for what, count in site.world.network.struck.items()},
        "disk refuses": site.latches.refusals + site.modes.refusals + site.timers.refusals,
        "database does not answer": site.database.refused,
    }
    return performer.struck + Counter(felt)


async def _refused(site: SimSite) -> Counter[str]:
    """Return how often the living gates refused a setpoint, by reason."""
    refused: Counter[str] = Counter()
    for protocol in site.ports:
        ref = site.world.directory.ref(endpoint_address(site.config.site_id, protocol))
        try:
            status = await ref.ask(GetEndpoint(), deadline_s=1.0)
        except CalejoError:
            continue
        assert isinstance(status, EndpointStatus)
        for pump in status.pumps:
            refused.update(pump.refused)
    return refused


def under_control(site: SimSite) -> bool:
    """Whether every pump is enabled with a fresh sequence on every wire."""
    for protocol, port in site.ports.items():
        holder = port.answering()
        for pump_id in site.pump_ids():
            image = site.inspector.shown(protocol, pump_id)
            if holder is None or image is None or image.gate != holder.gate or not image.enabled:
                return False
            if site.inspector.beat_age_s(protocol, pump_id) > _FRESH_S:
                return False
    return True


async def _recovered(site: SimSite, well: Callable[[], bool]) -> None:
    """Let an operator retry what was quarantined until every pump is under control and every process runs."""
    states: dict[str, str] = {}
    retrying = asyncio.create_task(_look_after_the_tree(site, states))

    def all_running() -> bool:
        return set(states.values()) == {"running"}

    try:
        await _until(site, lambda: under_control(site) and all_running(), within_s=RECOVERED_S, well=well)
        if not all_running() and well():
            ill = {address: state for address, state in states.items() if state != "running"}
            site.inspector.note("recovery", f"not running: {ill}")
        # New records come all the time: what waits now is to be written, whatever else has come by then.
        waiting = site.spool.positions()
        await _until(
            site,
            lambda: waiting.isdisjoint(site.spool.positions()),
            within_s=WRITTEN_S,
            well=well,
            what="all is written",
        )
    finally:
        retrying.cancel()


async def _look_after_the_tree(site: SimSite, states: dict[str, str]) -> None:
    """Keep `states` up to date, and take whoever is in quarantine out of it."""
    supervisor = site_address(site.config.site_id)
    while True:
        nodes = await site.tree()
        states.clear()
        states.update({node.address: node.state for node in nodes})
        for node in nodes:
            if node.state == "quarantined" and node.kind == "process":
                parent = supervisor if node.address.startswith(f"{supervisor}/") else ROOT
                site.world.directory.ref(parent).tell(RetryChild(child=node.address))
        await asyncio.sleep(_POLL_S)


async def _until(
    site: SimSite,
    holds: Callable[[], bool],
    *,
    within_s: float,
    well: Callable[[], bool],
    what: str = "every pump is under control",
) -> None:
    world, inspector = site.world, site.inspector
    began_s = world.elapsed_s
    while not holds() and well():
        if world.elapsed_s - began_s > within_s:
            for protocol in site.ports:
                for pump_id in site.pump_ids():
                    age_s = inspector.beat_age_s(protocol, pump_id)
                    text = f"{within_s:g} s and not yet: {what}; beat {age_s:.1f} s ago"
                    inspector.note("recovery", text, inspector.shown(protocol, pump_id))
            return
        await asyncio.sleep(_POLL_S)


def _crashes(world: SimRuntime) -> tuple[Finding, ...]:
    """Return the actors that ended by a mistake of ours: whatever happens outside, no exception may be unexpected."""
    return tuple(
        Finding(world.elapsed_s, "no actor crashes", f"{address}: {fields}")
        for address, event, fields in world.errors
        if event == "actor_crashed" and "the port is taken" not in str(fields["error"])
    )
