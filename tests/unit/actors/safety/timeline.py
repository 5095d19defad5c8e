"""Tells a control law as a table: a row per moment, inputs left of the bar, what must come out right of it.

Between two rows the inputs of the former hold and the kernel ticks once a second. The plant of the table is
obedient: an enabled pump turns at its setpoint at once, unless a column says otherwise. Columns of a pump
other than `a` are written `b.plan_hz`; those of a station (`level_m`, `float`) stand for all its pumps.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

from actors.feedback import FeedbackMemory, judge, newest, pumping_since_of
from actors.messages import Proposal, ProposalSource, PumpFeedback, Sample
from actors.safety.kernel import decide_round
from actors.safety.memory import feedback_of, memory_of, restored, seen_of
from actors.safety.types import Decision, KernelState, PumpInput, RoundInput, initial_state
from actors.vocabulary import (
    ControlSettings,
    ControlType,
    DutyProfile,
    FailsafeStrategy,
    Instant,
    Mode,
    PumpConfig,
    Reason,
    SafetyLimits,
    StationConfig,
)
from actors.vocabulary.durable import Epoch, PumpSeen, StationMemory

BOOT: Final = "boot"
START: Final = Instant(BOOT, 1_000_000_000_000, 1_800_000_000_000_000_000)
STATION_COLUMNS: Final = frozenset({"level_m", "float"})


def limits(
    *,
    band_hz: tuple[float, float] = (20.0, 50.0),
    rate_hz_per_s: float = 1.0,
    dry_run_m: float | None = None,
    dry_run_reset_m: float | None = None,
    level_min_m: float | None = None,
    high_m: float | None = None,
    high_reset_m: float | None = None,
    **more: Any,
) -> SafetyLimits:
    """Build limits from the few figures that a test is about."""
    return SafetyLimits(
        version=more.pop("version", 7),
        hard_min_speed_hz=band_hz[0],
        hard_max_speed_hz=band_hz[1],
        max_rate_hz_per_s=rate_hz_per_s,
        level_dry_run_m=dry_run_m,
        level_dry_run_reset_m=dry_run_reset_m,
        level_min_m=level_min_m,
        level_emergency_high_m=high_m,
        level_emergency_high_reset_m=high_reset_m,
        **more,
    )


def pump(pump_id: str = "a", /, of: SafetyLimits | None = None, **more: Any) -> PumpConfig:
    """Build a pump; its wire slot follows from its name (a is 0)."""
    return PumpConfig(
        pump_id=pump_id,
        station_id="s",
        name=pump_id,
        control_type=more.pop("control_type", ControlType.DIRECT_SPEED),
        default_setpoint_hz=more.pop("default_setpoint_hz", 30.0),
        failsafe_strategy=more.pop("failsafe_strategy", FailsafeStrategy.DEFAULT_SETPOINT),
        wire_slot=more.pop("wire_slot", ord(pump_id[0]) - ord("a")),
        limits=of,
        **more,
    )


def station(*pumps: PumpConfig, **more: Any) -> StationConfig:
    """Build a station without a stagger, unless told."""
    return StationConfig(
        station_id="s",
        site_id="site",
        name="s",
        timezone="UTC",
        modbus_unit_id=1,
        stagger_s=more.pop("stagger_s", 0.0),
        pumps=pumps,
        **more,
    )


class Bench:
    """A station with an obedient plant around the kernel; one `tick` is one scheduling round."""

    def __init__(self, config: StationConfig, *, start_hz: Mapping[str, float] | None = None) -> None:
        self.config = config
        self.control = ControlSettings()
        self.now = START
        self.state: KernelState = initial_state(START.plus(-1.0))
        self.measured_hz = {one.pump_id: (start_hz or {}).get(one.pump_id, 0.0) for one in config.pumps}
        self.decisions: dict[str, Decision] = {}
        self.memories = {one.pump_id: FeedbackMemory() for one in config.pumps}
        self.held: dict[str, PumpFeedback] = {}
        self.sequence = 0
        self.profile: DutyProfile | None = None

    def tick(
        self,
        inputs: Mapping[str, Mapping[str, Any]],
        *,
        period_s: float = 0.0,
        deciding: frozenset[str] | None = None,
        durable: bool = True,
        spy: Callable[[RoundInput], object] | None = None,
    ) -> dict[str, Decision]:
        """Let `period_s` pass, let the controllers write, and decide; `spy` sees what the kernel is given."""
        self.now = self.now.plus(period_s)
        self.sequence += 1
        for one in self.config.pumps:
            self._write(one.pump_id, inputs.get(one.pump_id, {}))
        pumping = pumping_since_of(self.memories.values())
        entries: dict[str, PumpInput] = {}
        for one in self.config.pumps:
            values = inputs.get(one.pump_id, {})
            held = self.held.get(one.pump_id, PumpFeedback(pump_id=one.pump_id))
            judged, self.memories[one.pump_id] = judge(
                held,
                self.memories[one.pump_id],
                now=self.now,
                since=self.state.since,
                control=self.control,
                pump=one,
                pumping_since=pumping,
            )
            entries[one.pump_id] = PumpInput(
                config=one,
                proposal=self._proposal(one.pump_id, values),
                feedback=judged,
                stopped=bool(values.get("stop")),
                out_of_service=bool(values.get("oos")),
                scope_failure=values.get("scope_failure"),
            )
        round_input = RoundInput(
            station=self.config,
            control=self.control,
            pumps=entries,
            deciding=frozenset(entries) if deciding is None else deciding,
            starts_durable=durable,
            profile=self.profile,
        )
        if spy is not None:
            spy(round_input)
        self.decisions, self.state = decide_round(round_input, self.state, now=self.now)
        for pump_id, decision in self.decisions.items():
            if decision.remote_enabled and inputs.get(pump_id, {}).get("speed_hz") is None:
                self.measured_hz[pump_id] = decision.setpoint_hz
        return self.decisions

    def restart(self, *, away_s: float, boot_id: str = BOOT) -> None:
        """Let a successor take over: it knows what is on disk and was noted last, through the files' own format, and
        what is written from now on.
        """
        memory = memory_of("s", self.state, epoch=Epoch(0, 1), boot_id=self.now.boot_id)
        seen = seen_of(self.state, self.memories, now=self.now)
        memory = msgspec.json.decode(msgspec.json.encode(memory), type=StationMemory)
        seen = msgspec.json.decode(msgspec.json.encode(seen), type=dict[str, PumpSeen])
        self.now = msgspec.structs.replace(self.now.plus(away_s), boot_id=boot_id)
        self.state = restored(memory, seen, now=self.now, gap_s_max=self.control.setpoint_lease_s)
        self.memories = {pump_id: FeedbackMemory() for pump_id in self.memories}
        self.memories |= feedback_of(seen, now=self.now)
        self.held.clear()

    def _proposal(self, pump_id: str, values: Mapping[str, Any]) -> Proposal | None:
        if values.get("no_proposal"):
            return None
        reason = values.get("failsafe")
        return Proposal(
            pump_id=pump_id,
            wish_hz=values.get("plan_hz"),
            mode=Mode[values["mode"]]
            if isinstance(values.get("mode"), str)
            else values.get("mode", Mode.AUTO),
            origin=self.now,
            sequence=self.sequence,
            source=ProposalSource(calculator="table", plan_id=1),
            failsafe=Reason[reason] if isinstance(reason, str) else reason,
            held_stopped=bool(values.get("held")),
        )

    def _write(self, pump_id: str, values: Mapping[str, Any]) -> None:
        if values.get("speed_hz") is not None:
            self.measured_hz[pump_id] = values["speed_hz"]
        if values.get("silent"):
            return
        speed_hz = self.measured_hz[pump_id]
        running = values.get("running")
        written = {
            "actual_speed_hz": speed_hz,
            "running": float(speed_hz > 0.0) if running is None else running,
            "local_override": values.get("local", 0.0),
            "wet_well_level_m": values.get("level_m"),
            "high_float": values.get("float"),
            "actual_power_kw": values.get("power_kw"),
            "actual_flow_m3h": values.get("flow_m3h"),
            "fault_code": values.get("fault", 0.0),
            "plc_heartbeat": float(self.sequence % 65536) if not values.get("plc_stuck") else 1.0,
            "setpoint_echo_hz": speed_hz,
        }
        withheld = str(values.get("without", "")).split("+")
        samples = {
            name: Sample(value, self.now)
            for name, value in written.items()
            if value is not None and name not in withheld
        }
        self.held[pump_id] = newest(
            self.held.get(pump_id), PumpFeedback(pump_id=pump_id, **samples), now=self.now
        )


def play(
    plant: SafetyLimits | StationConfig,
    table: str,
    *,
    start_hz: float | Mapping[str, float] | None = None,
) -> Bench:
    """Run the table; fail with every row that came out otherwise.

    `plant` is a station, or the limits of its only pump `a`. The pumps start at `start_hz`, else at the first
    row's `plan_hz`.
    """
    config = plant if isinstance(plant, StationConfig) else station(pump(of=plant))
    names, expected_names, rows = _parsed(table)
    first = _by_pump(dict(zip(names, rows[0][0], strict=True)), config)
    starts = start_hz if isinstance(start_hz, Mapping) else {}
    bench = Bench(
        config,
        start_hz={
            one.pump_id: starts.get(
                one.pump_id,
                start_hz if isinstance(start_hz, float | int) else first[one.pump_id].get("plan_hz") or 0.0,
            )
            for one in config.pumps
        },
    )
    wrong: list[str] = []
    values = first
    t_s = rows[0][0][names.index("t_s")]
    bench.now = START.plus(t_s)
    for given, expected in rows:
        row = dict(zip(names, given, strict=True))
        while row["t_s"] - t_s > 1.0:
            bench.tick(values, period_s=1.0)
            t_s += 1.0
        values = _by_pump(row, config)
        decisions = bench.tick(values, period_s=row["t_s"] - t_s)
        t_s = row["t_s"]
        for name, want in zip(expected_names, expected, strict=True):
            pump_id, _, column = name.rpartition(".")
            decision = decisions.get(pump_id or "a")
            got = None if decision is None else outcome(decision, column)
            if got != want and not (
                isinstance(got, float) and isinstance(want, float) and abs(got - want) < 0.0051
            ):
                wrong.append(f"t={t_s:g} {name}: want {want!r}, got {got!r}; {_story(decision)}")
    assert not wrong, "\n" + "\n".join(wrong)
    return bench


def outcome(decision: Decision, column: str) -> object:
    """Return what a column of the right side shows."""
    shown: dict[str, object] = {
        "setpoint_hz": decision.setpoint_hz,
        "because": decision.trail[-1].rule.value if decision.trail else decision.reason.name.lower(),
        "reason": decision.reason.name.lower(),
        "enabled": float(decision.remote_enabled),
        "quality": decision.quality.name,
        "image_hz": decision.failsafe_image_hz,
        "image_reason": decision.failsafe_image_reason.name.lower(),
        "inhibit": float(decision.run_inhibit),
        "mode": decision.mode.name,
        "tracking_hz": decision.tracking_hz,
    }
    return shown[column]


def _story(decision: Decision | None) -> str:
    if decision is None:
        return "no decision"
    return "; ".join(
        f"{step.rule.value} {step.before_hz:g}->{step.after_hz:g} ({step.why})" for step in decision.trail
    )


def _parsed(table: str) -> tuple[list[str], list[str], list[tuple[list[Any], list[Any]]]]:
    lines = [line.strip() for line in table.strip().splitlines() if line.strip()]
    left, _, right = lines[0].partition("|")
    names, expected_names = left.split(), right.split()
    rows: list[tuple[list[Any], list[Any]]] = []
    for line in lines[1:]:
        given, _, expected = line.partition("|")
        rows.append(([_cell(cell) for cell in given.split()], [_cell(cell) for cell in expected.split()]))
        assert len(rows[-1][0]) == len(names), f"cells of {line!r} do not fit {names}"
        assert len(rows[-1][1]) == len(expected_names), f"cells of {line!r} do not fit {expected_names}"
    return names, expected_names, rows


def _cell(text: str) -> Any:
    if text == "-":
        return None
    try:
        return float(text)
    except ValueError:
        return text


def _by_pump(row: Mapping[str, Any], config: StationConfig) -> dict[str, dict[str, Any]]:
    values: dict[str, dict[str, Any]] = {one.pump_id: {} for one in config.pumps}
    for name, value in row.items():
        pump_id, _, column = name.rpartition(".")
        if value is None and column != "plan_hz":
            continue
        for target in [pump_id] if pump_id else list(values) if column in STATION_COLUMNS else ["a"]:
            values[target][column] = value
    return values


def replaced(config: StationConfig, **changes: Any) -> StationConfig:
    """Return the station with some fields changed."""
    return msgspec.structs.replace(config, **changes)
