"""A demo station that follows the optimiser's plans through Calejo's own calculators, replanned from feedback.

Ideal but for what is measured: no kernel stands between wish and drive but the ramp, and none of its protective
rules helps; what stays in its band here owes that to the plan.
"""

from __future__ import annotations

from collections import deque
from datetime import UTC, datetime, timedelta

from actors.feedback import LEVEL, POWER, RUNNING
from actors.messages import JudgedValue
from actors.pump.calculators import CalculatorState, calculate, setup_of
from actors.pump.parameters import check_parameters
from actors.pump.regulator import Applied
from actors.vocabulary import ControlSettings, Quality
from actors.vocabulary.records import PlanRow
from ops.demo.catalogue import LIMITS, DemoStation, demo_site
from ops.demo.observing import WINDOW_S, Report, observe
from ops.demo.planning import INTERVAL, INTERVAL_S, plan, wishes
from ops.demo.plant import (
    PumpTruth,
    Sensor,
    StationTruth,
    Storm,
    fresh_station,
    inflow_m3h,
    measured_level_m,
    step,
)
from ops.demo.settings import DemoSettings

NO_STORM = Storm(first_s=1e12, every_s=2e12)
_REPLAN_S = DemoSettings().plan_every_s
_REPORT_S = 10.0
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Follower:
    """One station under ideal control; times in s since 1970."""

    def __init__(self, station: DemoStation, *, start_s: float, level_m: float | None = None) -> None:
        assert start_s % _REPORT_S == 0
        self.station, self.t_s = station, start_s
        self.truth: StationTruth = fresh_station(station, level_m=level_m)
        configs = {pump.pump_id: pump for place in demo_site().stations for pump in place.pumps}
        own = [configs[pump.pump_id] for pump in station.pumps]
        self.setups = [
            setup_of(
                pump,
                check_parameters(pump.control_type, pump.control_parameters, pump_id=pump.pump_id),
                ControlSettings(),
            )
            for pump in own
        ]
        self.states = [CalculatorState() for _ in own]
        self.applied_hz = [0.0 for _ in own]
        self.rows: dict[float, list[PlanRow]] = {}
        self.reports: deque[Report] = deque(maxlen=int(WINDOW_S / _REPORT_S + 1) * len(own))
        self.version = 0
        self.levels_m: list[float] = []
        self.running: list[int] = []

    def go(self, seconds: float, *, seed: int, storm: Storm, origin_s: float, dt_s: float = 10.0) -> Follower:
        end_s = self.t_s + seconds
        while self.t_s < end_s:
            if self.t_s % _REPLAN_S == 0:
                self._replan()
            self._control(dt_s)
            self.t_s += dt_s
            inflow = inflow_m3h(self.station, self.t_s, seed=seed, storm=storm, origin_s=origin_s)
            self.truth = step(self.station, self.truth, self.applied_hz, inflow=inflow, dt_s=dt_s)
            self.levels_m.append(self.truth.level_m)
            self.running.append(sum(pump.speed_hz > 0.0 for pump in self.truth.pumps))
            if self.t_s % _REPORT_S == 0:
                self.reports.extend(self._report(index, pump) for index, pump in enumerate(self.truth.pumps))
        return self

    def _replan(self) -> None:
        seen = observe(self.station, list(self.reports), now_s=self.t_s)
        self.version += 1
        made = plan(self.station, seen, now_s=self.t_s, start_s=self.t_s, end_s=self.t_s + _REPLAN_S)
        self.rows = {
            interval.start_s: [
                self._row(slot, interval.start_s, wish)
                for slot, wish in enumerate(wishes(self.station, interval))
            ]
            for interval in made
        }

    def _row(self, slot: int, start_s: float, wish: dict[str, float]) -> PlanRow:
        start = _EPOCH + timedelta(seconds=start_s)
        return PlanRow(
            plan_id=self.version,
            station_id=self.station.station_id,
            pump_id=self.station.pumps[slot].pump_id,
            interval_start=start,
            interval_end=start + INTERVAL,
            plan_version=self.version,
            created_at=start,
            **wish,
        )

    def _control(self, dt_s: float) -> None:
        rows = self.rows[self.t_s - self.t_s % INTERVAL_S]
        level_m = measured_level_m(Sensor(), self.truth.level_m, now_s=self.t_s)
        for index, pump in enumerate(self.truth.pumps):
            judged = {LEVEL: _good(level_m), POWER: _good(pump.power_kw), RUNNING: _good(pump.speed_hz > 0.0)}
            hz = self.applied_hz[index]
            last = self.states[index].regulator.output_hz
            wish = calculate(
                self.setups[index],
                rows[index],
                judged,
                self.states[index],
                applied=Applied(hz=hz, ramping=last is not None and abs(last - hz) > 0.01),
                dt_s=dt_s,
            )
            assert wish.hz is not None
            self.states[index] = wish.state
            self.applied_hz[index] = _ramped(hz, wish.hz, dt_s)

    def _report(self, index: int, pump: PumpTruth) -> Report:
        return Report(
            pump_id=self.station.pumps[index].pump_id,
            at_s=self.t_s,
            level_m=measured_level_m(Sensor(), self.truth.level_m, now_s=self.t_s),
            flow_m3h=round(pump.flow_m3h, 2),
            running=pump.speed_hz > 0.0,
        )


def _ramped(hz: float, wanted_hz: float, dt_s: float) -> float:
    """SAF-2.10: in steps of the rate limit inside the band, at once between 0 and its lower end."""
    low_hz, step_hz = LIMITS.hard_min_speed_hz, (LIMITS.max_rate_hz_per_s or 0.0) * dt_s
    if hz <= 0.0:
        return low_hz if wanted_hz > 0.0 else 0.0
    next_hz = min(max(wanted_hz, hz - step_hz), hz + step_hz)
    return next_hz if next_hz >= low_hz else 0.0


def _good(value: float) -> JudgedValue:
    return JudgedValue(value=float(value), quality=Quality.GOOD, age_s=0.0)
