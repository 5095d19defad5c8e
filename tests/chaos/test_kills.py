"""Any process of the running tree is killed or hung; the wire stays safe and service returns by itself.

Method: one campaign strikes one process after the other, without a pause, while one log samples every pump's block at
50 Hz and pumps run by plans that keep changing. Who is struck comes from the living tree: a process of each role, and
every supervisor. Then each test judges what the campaign recorded about one of them. A lease is waited for once, at
the end: a lapse of the lease is charged to everybody who was struck within the lease before it.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from actors.vocabulary import Role
from actors.vocabulary.settings import LIVENESS_DEADLINE_S, LIVENESS_PERIOD_S, SETPOINT_LEASE_S
from supervisors.process import alive
from tests.chaos.conftest import sampled, under_way, until_enabled
from tests.chaos.figures import keep
from tests.chaos.truth import truth_of, utc_now
from tests.chaos.wire_log import RATE_HZ_MIN, Finding, WireLog, heartbeats, lapses
from tests.program import Program, until

# The first test waits for the whole campaign.
pytestmark = [pytest.mark.chaos, pytest.mark.timeout(400)]

BACK_WITHIN_S = 5.0
# Liveness period and deadline, then a restart like any other (SUP-3).
HANG_BACK_WITHIN_S = LIVENESS_PERIOD_S + LIVENESS_DEADLINE_S + BACK_WITHIN_S
# How much longer is waited than allowed, so that a failure says how late it was.
PATIENCE_S = 10.0
# So long after a stop signal nothing of the hung one can be on its way any more.
IN_FLIGHT_S = 0.3
KILL, STOP = signal.SIGKILL, signal.SIGSTOP


def pids(program: Program) -> dict[str, int]:
    return {key: node["pid"] for key, node in program.tree().items() if node["kind"] == "process"}


def address_of(program: Program, role: str) -> str:
    """Return the first actor of a role."""
    return next(address for address, node in sorted(program.tree().items()) if node["role"] == role)


def judge(wire: WireLog) -> None:
    """Fail if anything unsafe was seen."""
    wrong = wire.findings()
    assert not wrong, "\n".join(finding.text for finding in wrong[:5])


@dataclass(slots=True)
class Fault:
    """One process struck, and what followed; times on the log's clock, None: it did not come."""

    role: str
    address: str
    number: signal.Signals
    pid: int
    at_s: float
    limit_s: float
    back_s: float | None = None
    service_s: float | None = None
    gone: bool = False
    restarted_too: dict[str, tuple[int, int | None]] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return f"{self.number.name} {self.address}"

    @property
    def took_s(self) -> float:
        return float("inf") if self.back_s is None else self.back_s - self.at_s

    @property
    def end_s(self) -> float:
        """Until when something may still come of it."""
        return (self.back_s or self.at_s + self.limit_s) + SETPOINT_LEASE_S + 1.0


class Campaign:
    """Strikes the processes of one running program and keeps the record."""

    def __init__(self, program: Program, wire: WireLog) -> None:
        self.program, self.wire = program, wire
        self.faults: list[Fault] = []
        self.roles: set[str] = set()
        self.wrong: list[Finding] = []
        self.noticed: list[str] = []

    def victims(self, *, turn: int) -> Iterator[tuple[str, str]]:
        """Yield one address of each role and every supervisor, from the tree as it is now.

        Roles of which each station has one are taken from one station after the other, pumps first among those that
        run; `turn` chooses others than before.
        """
        tree = self.program.tree()
        self.roles = {node["role"] for node in tree.values() if node["kind"] == "process"}
        for place, role in enumerate(sorted(self.roles)):
            found = sorted(key for key, node in tree.items() if node["role"] == role and node["pid"])
            if role == Role.SUPERVISOR.value:
                yield from ((role, address) for address in found)
                continue
            if role == Role.PUMP.value:
                found.sort(key=lambda address: not self._runs(address.rpartition("/")[2]))
                found = found[:2]
            yield role, found[(place + turn) % len(found)]

    def _runs(self, pump_id: str) -> bool:
        latest = self.wire.latest(pump_id)
        return latest is not None and latest.setpoint_hz > 0

    def strike(self, *struck: tuple[str, str], number: signal.Signals, limit_s: float) -> None:
        """Send the signal to each of them at once, and wait until all are back and serve again."""
        before = until(self._whole, within_s=30, what="a tree in which everybody runs")
        faults = []
        for role, address in struck:
            os.kill(before[address], number)
            faults.append(Fault(role, address, number, before[address], time.monotonic(), limit_s))
        self.faults += faults
        give_up_s = time.monotonic() + limit_s + PATIENCE_S
        while time.monotonic() < give_up_s and any(fault.service_s is None for fault in faults):
            # Nobody is back while its hung predecessor lives, and asking costs the program that is judged.
            gone = [fault for fault in faults if fault.back_s is None and not alive(fault.pid)]
            tree = self.program.tree() if gone else {}
            now_s = time.monotonic()
            for fault in faults:
                node = tree.get(fault.address)
                back = node and node["state"] == "running" and node["pid"] not in {None, fault.pid}
                if back and fault.back_s is None:
                    fault.back_s = now_s
                if fault.back_s is not None and fault.service_s is None:
                    fault.service_s = self._served_s(fault)
            time.sleep(0.02)  # between two looks at a condition
        after = pids(self.program)
        addresses = {fault.address for fault in faults}
        for fault in faults:
            fault.gone = not alive(fault.pid)
            fault.restarted_too = {
                key: (pid, after.get(key))
                for key, pid in before.items()
                if key not in addresses and after.get(key) != pid
            }

    def _whole(self) -> dict[str, int] | None:
        tree = self.program.tree()
        processes = {key: node for key, node in tree.items() if node["kind"] == "process"}
        whole = all(node["state"] == "running" and node["pid"] for node in processes.values())
        return {key: node["pid"] for key, node in processes.items()} if processes and whole else None

    def pumps_served_by(self, fault: Fault) -> list[str]:
        """Return the pumps whose chain leads through the process that was struck."""
        parts = fault.address.strip("/").split("/")
        match fault.role:
            case Role.PUMP.value:
                return [parts[-1]]
            case Role.SAFETY.value | Role.PLAN.value | Role.STATION.value:
                return self.wire.pumps_of(parts[3])
            case Role.MODBUS.value:
                return [place.pump_id for place in self.wire.places]
            case _:
                return []

    def _served_s(self, fault: Fault) -> float | None:
        """Return when its pumps were served again: the last one's first heartbeat after its death.

        For a safety actor it counts only in a newer epoch. What serves no pump serves when it is back.
        """
        firsts: list[float | None] = [fault.back_s]
        for pump_id in self.pumps_served_by(fault):
            seen = self.wire.of(pump_id, since_s=fault.at_s)
            if fault.role == Role.SAFETY.value:
                seen = [sample for sample in seen if sample.epoch > seen[0].epoch]
                firsts.append(seen[0].t_s if seen else None)
            else:
                firsts.append(next((t for t in heartbeats(seen) if t > fault.at_s + IN_FLIGHT_S), None))
        moments = [t for t in firsts if t is not None]
        return max(moments) if len(moments) == len(firsts) else None

    def of(self, role: str, number: signal.Signals) -> list[Fault]:
        found = [fault for fault in self.faults if (fault.role, fault.number) == (role, number)]
        assert found, f"no {role} got {number.name}"
        return found


@pytest.fixture(scope="module")
def campaign(demo: Program) -> Iterator[Campaign]:
    """Every victim killed one after the other, then hung: in pairs, one of which is no part of any pump's chain."""
    until_enabled(demo)
    with sampled(demo) as wire:
        under_way(wire)
        until(lambda: wire.seconds > 1.5, within_s=5, what="the wire as it is before anything happens")
        began = utc_now()
        campaign = Campaign(demo, wire)
        for victim in campaign.victims(turn=0):
            campaign.strike(victim, number=KILL, limit_s=BACK_WITHIN_S)
        for victims in _in_pairs(list(campaign.victims(turn=1))):
            campaign.strike(*victims, number=STOP, limit_s=HANG_BACK_WITHIN_S)
            if Role.MODBUS.value in {role for role, _ in victims}:
                break
            campaign.noticed = truth_of(demo).noticed(since=began)
        last_s = max(fault.end_s for fault in campaign.faults)
        until(lambda: time.monotonic() > last_s, within_s=30, what="a lease after the last of them")
        campaign.wrong = wire.findings()
        truth_of(demo).unharmed(since=began)
        until_enabled(demo, what="every pump under remote control again")
        yield campaign


def _in_pairs(victims: list[tuple[str, str]]) -> Iterator[tuple[tuple[str, str], ...]]:
    """Pair each process of a station with one of the platform's; supervisors, API and the endpoints go alone.

    The endpoint that carries the feedback comes last: when it hangs, the pumps may be handed back for a while.
    """
    in_chain = [each for each in victims if each[0] in {"safety", "plan", "station", "pump"}]
    beside = [each for each in victims if each[0] in {"storage", "discovery", "alarm", "watchdog"}]
    alone = [each for each in victims if each not in in_chain and each not in beside]
    assert len(in_chain) == len(beside), "a role is new: say whether it is part of a pump's chain"
    yield from zip(in_chain, beside, strict=True)
    yield from ((each,) for each in alone if each[0] != "modbus")
    yield from ((each,) for each in alone if each[0] == "modbus")


# The demo has no broker; who kills an edge node is tests/wire/sparkplug.
ROLES = [role.value for role in Role if role is not Role.SPARKPLUG]


def test_the_campaign_strikes_every_role_of_the_tree(campaign: Campaign) -> None:
    """SUP-8: goal: nobody is left out; the roles struck are those that the living tree shows, and that there are."""
    assert campaign.roles == set(ROLES)
    for number in (KILL, STOP):
        assert {fault.role for fault in campaign.faults if fault.number is number} == campaign.roles
    supervisors = {fault.address for fault in campaign.of(Role.SUPERVISOR.value, KILL)}
    assert "/" in supervisors
    assert len(supervisors) > 1
    for number in (KILL, STOP):
        for fault in (each for each in campaign.faults if each.number is number):
            key = f"{number.name} {fault.role if fault.role != 'supervisor' else fault.address}"
            keep("SUP-3 back / serving again after (s)", key, [
                round(fault.took_s, 2), fault.service_s and round(fault.service_s - fault.at_s, 2),
            ])  # fmt: skip


def test_the_wire_was_sampled_and_the_values_moved(campaign: Campaign) -> None:
    """SUP-8: goal: what is judged was seen: 40 Hz or more in the 5 s around every fault, of setpoints that changed."""
    wire = campaign.wire
    rates = {fault.name: wire.rate_hz(fault.at_s - 1.0, fault.at_s + 4.0) for fault in campaign.faults}
    slow = {name: rate for name, rate in rates.items() if rate < RATE_HZ_MIN}
    assert not slow, f"sampled too slowly: {slow}"
    began_s, ended_s = campaign.faults[0].at_s, campaign.faults[-1].end_s
    stations = {wire.place(pump_id).station_id for pump_id in wire.moving(began_s, ended_s)}
    assert stations == {place.station_id for place in wire.places}, (
        "a pump of every station must run and change"
    )
    standing = [fault.name for fault in campaign.faults if not wire.moving(fault.at_s, fault.end_s)]
    assert not standing, f"no setpoint moved after {standing}"
    keep("SUP-8", "lowest sampling rate around a fault (Hz)", min(rates.values()))
    keep("SUP-8", "samples judged", sum(len(wire.of(place.pump_id)) for place in wire.places))


@pytest.mark.parametrize("role", ROLES)
def test_a_killed_process_is_back_and_the_plant_does_not_notice(campaign: Campaign, role: str) -> None:
    """SUP-3, SUP-4, SUP-8, SAF-9: SIGKILL anybody; back within 5 s, no other restarts, no unsafe value, no lapse."""
    for fault in campaign.of(role, KILL):
        _back_in_time(fault)
        _safe(campaign, fault)
        _unnoticed(campaign, fault)


@pytest.mark.parametrize("role", ROLES)
def test_a_hung_process_is_replaced_and_the_plant_does_not_notice(campaign: Campaign, role: str) -> None:
    """SUP-3, SUP-8: SIGSTOP any process; noticed by the liveness ping, killed, replaced; no unsafe value, no lapse.

    Only the endpoint that carries the feedback may let the pumps go for a while: it hangs, so nobody hears the PLC.
    """
    for fault in campaign.of(role, STOP):
        _back_in_time(fault)
        assert fault.gone, f"{fault.name}: the hung process still lives"
        _safe(campaign, fault)
        if role != Role.MODBUS.value:
            _unnoticed(campaign, fault)


def test_the_controllers_noticed_nothing(campaign: Campaign) -> None:
    """SUP-8: goal: the plant's own witness: every pump stayed under remote control, no torn block, no older epoch.

    Up to the hang of the endpoint that carries the feedback, which may be noticed.
    """
    assert campaign.faults[-1].role == Role.MODBUS.value
    assert not campaign.noticed, campaign.noticed


def test_no_heartbeat_moves_while_the_chain_is_dead(campaign: Campaign) -> None:
    """WDG-4: the heartbeat proves the whole chain: with its safety stopped it stands still, though the gate lives."""
    (fault,) = campaign.of(Role.SAFETY.value, STOP)
    # Not before this could a successor speak.
    until_s = fault.at_s + LIVENESS_DEADLINE_S - 0.5
    for pump_id in campaign.pumps_served_by(fault):
        # What was already on its way may still arrive in the first moments.
        dead = campaign.wire.of(pump_id, since_s=fault.at_s + IN_FLIGHT_S, to_s=until_s)
        assert len(dead) > RATE_HZ_MIN, "the gate must have been asked"
        assert not heartbeats(dead), f"{pump_id}: the heartbeat moved"
        before = campaign.wire.of(pump_id, since_s=fault.at_s - 3.0, to_s=fault.at_s)
        assert heartbeats(before), f"{pump_id}: the heartbeat did not move before either"


def _back_in_time(fault: Fault) -> None:
    assert fault.took_s <= fault.limit_s, f"{fault.name}: back after {fault.took_s:.2f} s"
    assert fault.service_s is not None, f"{fault.name}: back, but its pumps are not served"
    served_s = fault.service_s - fault.at_s
    assert served_s <= fault.limit_s, f"{fault.name}: its pumps were served again after {served_s:.2f} s"
    assert not fault.restarted_too, f"{fault.name}: restarted as well: {fault.restarted_too}"


def _safe(campaign: Campaign, fault: Fault) -> None:
    wrong = [finding.text for finding in campaign.wrong if fault.at_s <= finding.t_s <= fault.end_s]
    assert not wrong, "\n".join(wrong[:5])


def _unnoticed(campaign: Campaign, fault: Fault) -> None:
    """The endpoint's silence while it is the one struck is allowed; a lapse of the lease is not."""
    wire = campaign.wire
    gaps = [gap for gap in wire.gaps if gap[0] <= (fault.back_s or fault.end_s) and gap[1] >= fault.at_s]
    if fault.role == Role.MODBUS.value:
        assert gaps, "the endpoint that was killed cannot have answered throughout"
        assert all(end - begin <= fault.limit_s for begin, end in gaps), gaps
    else:
        assert not gaps, f"{fault.name}: the Modbus server was away: {gaps}"
    # Whoever hung the endpoint of the feedback afterwards is not to be charged to us.
    hung_s = min((each.at_s for each in campaign.of(Role.MODBUS.value, STOP)), default=fault.end_s)
    for place in wire.places:
        lapsed = lapses(wire.of(place.pump_id, since_s=fault.at_s, to_s=min(fault.end_s, hung_s)))
        assert not lapsed, (
            f"{fault.name}: {place.pump_id} lost remote_enabled {lapsed[0] - fault.at_s:.1f} s later"
        )
