"""What a station has its pumps do beside their plans: assist, flush, exercise; who begins, who ends; pure (CTL-6).

A task chooses a value below rules 1 to 5 and above 6 to 11 (`rules.by_duty`): every bound on starts, places, power,
level and speed holds for it as for a plan.
"""

from __future__ import annotations

import msgspec

from actors.safety.rules import by_duty, may_serve, wants_to_run
from actors.safety.station_pass import active, failed, faulty, permitted
from actors.safety.types import Facts, KernelState, Work
from actors.station import upkeep
from actors.station.sequencing import Turns
from actors.station.wear import stood_s
from actors.vocabulary import Assist, Instant, Rule, StationConfig
from actors.vocabulary.durable import Task


class Well(msgspec.Struct, frozen=True, kw_only=True):
    """What a task is judged by: the station with its pumps now, after their duties have moved.

    `performing`: who does another's duty; `reserved`: who cleans out.
    """

    station: StationConfig
    works: dict[str, Work]
    facts: dict[str, Facts]
    performing: frozenset[str]
    reserved: frozenset[str]
    turns: Turns
    now: Instant

    def wanting(self, but: str = "") -> int:
        """How many pumps run, occupy a place or are meant to run, apart from `but`."""
        return sum(
            active(fact) or (pump_id in self.works and wants_to_run(self.works[pump_id].value_hz, fact))
            for pump_id, fact in self.facts.items()
            if pump_id != but
        )

    def has_place(self, pump_id: str) -> bool:
        """Whether the pump may run beside all others that run or want to."""
        return self.wanting(pump_id) < permitted(self.station)

    def idle(self, pump_id: str) -> bool:
        """Whether a pump stands, has nothing to do, is well and may start."""
        work, fact = self.works.get(pump_id), self.facts[pump_id]
        return (
            work is not None
            and pump_id not in self.performing
            and pump_id not in self.reserved
            and may_serve(work, fact)
            and work.value_hz == 0.0
            and fact.state.output_hz <= 0.0
            and fact.running is False
            and not faulty(fact)
            and not failed(fact)
            and not fact.start_refused
        )

    def calm(self) -> bool:
        """Whether nothing is out of order here, so that a pump may be run for its own or the main's sake."""
        return not any(
            fact.high_level or fact.dry_run or fact.state.failsafe.reason is not None
            for fact in self.facts.values()
        )


def assign(well: Well, state: KernelState, *, settling: bool) -> tuple[dict[str, Work], KernelState]:
    """Return the values with the tasks done, and the state with those that go on and begin.

    `settling`: we have just started: what was under way goes on, nothing begins (SAF-10).
    """
    state = upkeep.flow_seen(well.facts, well.station.duties.flush, state, now=well.now)
    before, state = state.tasks, _ended(well, state, settling=settling)
    if not settling:
        state = _begun(well, state, quiet=state.tasks == before)
    works = dict(well.works)
    for pump_id, task in state.tasks.items():
        if pump_id in works:
            works[pump_id] = _done(works[pump_id], well.facts[pump_id], task, well.station)
    return works, state


def _done(work: Work, fact: Facts, task: Task, station: StationConfig) -> Work:
    """Return the value of a pump that does its task."""
    duties, limits = station.duties, fact.limits
    if limits is None:
        return work
    if task.rule is Rule.ASSIST and duties.assist is not None:
        speed_hz = duties.assist.speed_hz
        hz = limits.hard_max_speed_hz if speed_hz is None else speed_hz
        why = f"assists until the level is below {duties.assist.reset_m:g} m"
    elif task.rule is Rule.FLUSH and duties.flush is not None:
        hz, why = (
            max(work.value_hz, duties.flush.speed_hz),
            f"flushes the rising main for {duties.flush.run_s:g} s",
        )
    elif task.rule is Rule.EXERCISE and duties.exercise is not None:
        hz, why = limits.hard_min_speed_hz, f"is exercised for {duties.exercise.run_s:g} s"
    else:
        return work
    return by_duty(work, fact, task.rule, hz, why)


def _ended(well: Well, state: KernelState, *, settling: bool) -> KernelState:
    """Take out the tasks that have ended."""
    for pump_id, task in list(state.tasks.items()):
        fact, work = well.facts.get(pump_id), well.works.get(pump_id)
        if fact is not None and work is None and settling:
            continue  # not heard of since our start
        gone = fact is None or work is None
        state = _without(state, pump_id) if gone else _after(well, state, pump_id, task)
    return state


def _after(well: Well, state: KernelState, pump_id: str, task: Task) -> KernelState:
    duties, fact, work = well.station.duties, well.facts[pump_id], well.works[pump_id]
    able = may_serve(work, fact) and not faulty(fact) and not failed(fact) and pump_id not in well.reserved
    if task.rule is Rule.ASSIST:
        goes_on = duties.assist is not None and (
            (fact.enabled and work.high) or (able and _still_helps(well, pump_id, duties.assist))
        )
        return state if goes_on else _without(state, pump_id)
    able = able and well.calm() and well.has_place(pump_id)
    if task.rule is Rule.FLUSH:
        end = upkeep.flush_end(duties.flush, task, fact, able=able, now=well.now)
        return state if end is None else msgspec.structs.replace(_without(state, pump_id), flushed_at=end)
    able = able and work.value_hz == 0.0
    if task.rule is Rule.EXERCISE and not upkeep.exercise_ends(
        duties.exercise, task, fact, able=able, now=well.now
    ):
        return state
    return upkeep.exercised(_without(state, pump_id), pump_id, now=well.now)


def _still_helps(well: Well, pump_id: str, assist: Assist) -> bool:
    """Whether the level still asks for a pump that assists, and it has nothing else to do."""
    fact, work = well.facts[pump_id], well.works[pump_id]
    if fact.level_m is None or fact.level_m <= assist.reset_m:
        return False
    if work.value_hz != 0.0 or pump_id in well.performing:
        return False
    return fact.state.output_hz > 0.0 or not fact.start_refused


def _begun(well: Well, state: KernelState, *, quiet: bool) -> KernelState:
    """Let at most one task begin: to assist before all else, and for the rest only while nobody has a task.

    `quiet`: none has ended in this round.
    """
    assisting = _next_assist(well, state)
    if assisting is not None:
        return msgspec.structs.replace(_with(state, assisting, Rule.ASSIST, well), assisted_at=well.now)
    if state.tasks or not quiet or well.reserved or not well.calm():
        return state
    flushing = _next_flush(well, state)
    if flushing is not None:
        return _with(state, flushing, Rule.FLUSH, well)
    exercising = _next_exercise(well)
    return state if exercising is None else _with(state, exercising, Rule.EXERCISE, well)


def _next_assist(well: Well, state: KernelState) -> str | None:
    """Return the pump that assists from now on: the next in order that is idle and whose level_max is reached."""
    assist = well.station.duties.assist
    if assist is None or sum(task.rule is Rule.ASSIST for task in state.tasks.values()) >= assist.pumps:
        return None
    if state.assisted_at is not None and well.now.seconds_since(state.assisted_at) < assist.after_s:
        return None
    for pump_id in well.turns.order:
        fact = well.facts[pump_id]
        level_max_m = None if fact.limits is None else fact.limits.level_max_m
        high = level_max_m is not None and fact.level_m is not None and fact.level_m >= level_max_m
        if high and (well.idle(pump_id) or _is_exercised(state, pump_id)) and well.has_place(pump_id):
            return pump_id
    return None


def _is_exercised(state: KernelState, pump_id: str) -> bool:
    """Whether a pump runs for its own sake alone: it assists from where it is, without another start."""
    task = state.tasks.get(pump_id)
    return task is not None and task.rule is Rule.EXERCISE


def _next_flush(well: Well, state: KernelState) -> str | None:
    """Return the pump that flushes from now on: the fastest that is on duty, else the next in order that is idle."""
    flush = well.station.duties.flush
    if flush is None or not upkeep.flush_due(flush, state, now=well.now):
        return None
    fit = [
        pump_id
        for pump_id in well.turns.order
        if pump_id in well.works and upkeep.enough_water(well.facts[pump_id], flush.level_m)
    ]
    on_duty = [
        pump_id
        for pump_id in fit
        if may_serve(well.works[pump_id], well.facts[pump_id])
        and well.works[pump_id].value_hz > 0.0
        and (well.facts[pump_id].state.output_hz > 0.0 or not well.facts[pump_id].start_refused)
        and not faulty(well.facts[pump_id])
    ]
    if on_duty:
        return max(on_duty, key=lambda pump_id: well.works[pump_id].value_hz)
    return next((pump_id for pump_id in fit if well.idle(pump_id) and well.has_place(pump_id)), None)


def _next_exercise(well: Well) -> str | None:
    """Return the pump that is exercised from now on: of those that are due the one that stood longest."""
    exercise = well.station.duties.exercise
    if exercise is None:
        return None
    due = [
        pump_id
        for pump_id in well.turns.order
        if well.idle(pump_id)
        and upkeep.enough_water(well.facts[pump_id], exercise.level_m)
        and stood_s(well.facts[pump_id].state.wear, now=well.now) >= exercise.after_h * 3600.0
        and well.has_place(pump_id)
    ]
    return max(due, key=lambda pump_id: stood_s(well.facts[pump_id].state.wear, now=well.now), default=None)


def _with(state: KernelState, pump_id: str, rule: Rule, well: Well) -> KernelState:
    return msgspec.structs.replace(state, tasks={**state.tasks, pump_id: Task(rule=rule, since=well.now)})


def _without(state: KernelState, pump_id: str) -> KernelState:
    tasks = {key: task for key, task in state.tasks.items() if key != pump_id}
    return msgspec.structs.replace(state, tasks=tasks)
