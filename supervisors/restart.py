"""The law of supervision: (tree, state, event, now) -> (state, effects). Pure; time and chance are arguments (SUP-2).

A failed child (died, hung, failed to start) is started again at once the first time in its period, then with
back-off, and is quarantined when it fails more often than its intensity allows (SUP-5). What else is restarted with
it is its group's strategy. Effects are performed in the order given.
"""

from __future__ import annotations

from typing import Final, assert_never

import msgspec

from actors.vocabulary import Address
from supervisors.restart_types import (
    TRANSITIONS,
    Adopted,
    Begin,
    Child,
    ChildState,
    Due,
    Effect,
    Ended,
    Escalate,
    Event,
    Hung,
    Kill,
    Quarantine,
    Reshaped,
    Retry,
    Start,
    Started,
    StartFailed,
    Step,
    Stop,
    StopAll,
    TreeState,
)
from supervisors.spec import Backoff, ChildSpec, GroupSpec, Restart, Spec, Strategy, leaves, walk

__all__ = [
    "TRANSITIONS",
    "Adopted",
    "Begin",
    "Child",
    "ChildState",
    "Due",
    "Effect",
    "Ended",
    "Escalate",
    "Event",
    "Hung",
    "Kill",
    "Quarantine",
    "Reshaped",
    "Retry",
    "Start",
    "StartFailed",
    "Started",
    "Step",
    "Stop",
    "StopAll",
    "TreeState",
    "backoff_s",
    "decide",
    "retry_refusal",
]


# --------------------------------------------------------------------------- the law

# Addresses out of the tree whose incarnation is remembered; news of the one longest gone is over long since.
_FORMER_MAX: Final = 4096


def decide(
    tree: GroupSpec, state: TreeState, event: Event, *, now_s: float, chance: float
) -> tuple[TreeState, tuple[Effect, ...]]:
    """Say what follows from `event`; `chance` in [0, 1) spreads back-offs."""
    law = _Law(tree, state, now_s=now_s, chance=chance)
    match event:
        case Begin():
            law.begin()
        case Adopted(address=address, incarnation=incarnation):
            law.adopted(address, incarnation)
        case Started(address=address, incarnation=incarnation):
            law.started(address, incarnation)
        case StartFailed(address=address, incarnation=incarnation, why=why):
            law.failed(address, incarnation, why, at_start=True)
        case Ended(address=address, incarnation=incarnation, why=why):
            law.ended(address, incarnation, why)
        case Hung(address=address, incarnation=incarnation, why=why):
            if law.is_current(address, incarnation):
                law.effects.append(Kill(address=address, incarnation=incarnation))
            law.failed(address, incarnation, why, at_start=False)
        case Due(address=address, incarnation=incarnation):
            law.due(address, incarnation)
        case Retry(address=address):
            law.retry(address)
        case Reshaped():
            law.reshaped()
        case StopAll():
            law.stop_all()
        case _:
            assert_never(event)
    return law.result()


def backoff_s(backoff: Backoff, *, failures: int, chance: float) -> float:
    """Return the wait before the restart that follows the `failures`-th failure of a period."""
    if failures <= 1:
        return 0.0
    # The exponent is bounded before it is used: 2**1000 is no float.
    wait_s = min(backoff.first_s * 2.0 ** min(failures - 2, 40), backoff.max_s)
    return wait_s * (1.0 - backoff.jitter * chance)


def retry_refusal(tree: GroupSpec, state: TreeState, address: Address) -> str:
    """Say why a retry at `address` would start nobody; '' when it would."""
    if state.stopping:
        return "everything is being stopped"
    members = [leaf for spec in walk(tree) if spec.address == address for leaf in leaves(spec)]
    waiting = [
        member
        for member in members
        if state.children.get(member.address, Child()).state is ChildState.QUARANTINED
    ]
    if any(not member.refused for member in waiting):
        return ""
    return "; ".join(member.refused for member in waiting) or "nothing of it is in quarantine"


class _Law:
    """One decision under way: a copy of the state that is changed step by step, and the effects so far."""

    def __init__(self, tree: GroupSpec, state: TreeState, *, now_s: float, chance: float) -> None:
        self._tree = tree
        self._children = dict(state.children)
        self._former = dict(state.former)
        self._group_failures = dict(state.group_failures_s)
        self._stopping = state.stopping
        self._now_s = now_s
        self._chance = chance
        self.effects: list[Effect] = []
        self._specs: dict[Address, Spec] = {}
        self._parents: dict[Address, GroupSpec] = {}
        for spec in walk(tree):
            self._specs[spec.address] = spec
            if isinstance(spec, GroupSpec):
                self._parents |= {child.address: spec for child in spec.children}

    def result(self) -> tuple[TreeState, tuple[Effect, ...]]:
        state = TreeState(
            children=self._children,
            former=self._former,
            group_failures_s=self._group_failures,
            stopping=self._stopping,
        )
        return state, tuple(self.effects)

    # ------------------------------------------------------------------ small steps

    def _child(self, address: Address) -> Child:
        child = self._children.get(address)
        return Child(incarnation=self._former.get(address, 0)) if child is None else child

    def is_current(self, address: Address, incarnation: int) -> bool:
        child = self._child(address)
        lives = child.state in {ChildState.STARTING, ChildState.RUNNING}
        return lives and child.incarnation == incarnation and address in self._specs

    def _move(self, address: Address, step: Step) -> None:
        self._children[address] = self._child(address).moved(step)

    def _start(self, address: Address) -> None:
        before = self._child(address)
        again = before.incarnation > 0 and before.state is not ChildState.STOPPED
        child = before.moved(Step.START)
        self._children[address] = msgspec.structs.replace(
            child, incarnation=child.incarnation + 1, restarts=child.restarts + again, refused=False
        )
        self.effects.append(Start(address=address, incarnation=child.incarnation + 1))

    def _quarantine(self, spec: ChildSpec, why: str) -> None:
        child = self._child(spec.address).gone(self._now_s).moved(Step.GIVE_UP)
        self._children[spec.address] = msgspec.structs.replace(
            child, last_error=why, refused=why == spec.refused
        )
        self.effects.append(Quarantine(address=spec.address, why=why))

    def _kill_if_alive(self, address: Address) -> None:
        child = self._child(address)
        if child.state in {ChildState.STARTING, ChildState.RUNNING}:
            self.effects.append(Kill(address=address, incarnation=child.incarnation))

    # ------------------------------------------------------------------ events

    def begin(self) -> None:
        for spec in leaves(self._tree):
            if self._child(spec.address).state is not ChildState.STOPPED:
                continue
            if spec.refused:
                self._quarantine(spec, spec.refused)
            else:
                self._start(spec.address)

    def adopted(self, address: Address, incarnation: int) -> None:
        child = self._child(address).moved(Step.ANSWERS)
        self._children[address] = msgspec.structs.replace(
            child, incarnation=incarnation, restarts=max(0, incarnation - 1)
        )

    def started(self, address: Address, incarnation: int) -> None:
        child = self._child(address)
        if child.state is ChildState.STARTING and child.incarnation == incarnation and not self._stopping:
            answering = child.moved(Step.ANSWERS).back(self._now_s)
            self._children[address] = msgspec.structs.replace(answering, start_failures=0)
        else:  # overtaken by a stop, a quarantine or a restart
            self.effects.append(Kill(address=address, incarnation=incarnation))

    def ended(self, address: Address, incarnation: int, why: str) -> None:
        if not self.is_current(address, incarnation):
            return
        spec = self._specs[address]
        assert isinstance(spec, ChildSpec)
        again = spec.restart is Restart.PERMANENT or (spec.restart is Restart.TRANSIENT and bool(why))
        if again:
            self.failed(address, incarnation, why or "ended", at_start=False)
        else:
            self._children[address] = msgspec.structs.replace(self._child(address), last_error=why)
            self._move(address, Step.STOP)

    def failed(self, address: Address, incarnation: int, why: str, *, at_start: bool) -> None:
        if not self.is_current(address, incarnation):
            return
        spec = self._specs[address]
        assert isinstance(spec, ChildSpec)
        child = self._child(address)
        if spec.restart is Restart.TEMPORARY:
            self._children[address] = msgspec.structs.replace(child.moved(Step.STOP), last_error=why)
            return
        since_s = self._now_s - spec.intensity.period_s
        failures = tuple(at_s for at_s in child.failures_s if at_s > since_s)
        start_failures = child.start_failures
        if at_start:
            start_failures += 1
        else:
            failures = (*failures, self._now_s)
        self._children[address] = msgspec.structs.replace(
            child.gone(self._now_s).moved(Step.FAIL),
            failures_s=failures,
            start_failures=start_failures,
            last_error=why,
        )
        most = spec.start_failures_max
        if len(failures) > spec.intensity.restarts_max or (most is not None and start_failures > most):
            self._gave_up(spec, why)
        else:
            # A failed start waits from the first time on: what it lacks does not come at once.
            rank = max(len(failures), start_failures + 1 if start_failures else 0)
            self._restart(spec, backoff_s(spec.backoff, failures=rank, chance=self._chance))

    def _gave_up(self, spec: ChildSpec, why: str) -> None:
        if spec.escalate:
            self._group_failed(self._parents[spec.address], f"{spec.address}: {why}")
        else:
            self._quarantine(spec, f"over its restart intensity: {why}")

    def _restart(self, spec: ChildSpec, after_s: float) -> None:
        group = self._parents[spec.address]
        match group.strategy:
            case Strategy.ONE_FOR_ONE | Strategy.DYNAMIC:
                together: tuple[ChildSpec, ...] = ()
            case Strategy.ONE_FOR_ALL:
                together = tuple(other for other in leaves(group) if other.address != spec.address)
            case Strategy.REST_FOR_ONE:
                order = leaves(group)
                together = order[order.index(spec) + 1 :]
            case _:
                assert_never(group.strategy)
        self._take_down(together)
        self._start_or_wait(spec.address, after_s)
        for other in together:
            if self._child(other.address).state is ChildState.RESTARTING:
                self._start_or_wait(other.address, after_s)

    def _take_down(self, specs: tuple[ChildSpec, ...]) -> None:
        for other in reversed(specs):
            if self._child(other.address).state in {ChildState.STARTING, ChildState.RUNNING}:
                self.effects.append(Stop(address=other.address))
                self._children[other.address] = self._child(other.address).gone(self._now_s)
                self._move(other.address, Step.TAKE_DOWN)

    def _start_or_wait(self, address: Address, after_s: float) -> None:
        if self._stopping:
            self._move(address, Step.STOP)
        elif after_s <= 0.0:
            self._start(address)
        else:
            incarnation = self._child(address).incarnation
            self.effects.append(Start(address=address, incarnation=incarnation + 1, after_s=after_s))

    def due(self, address: Address, incarnation: int) -> None:
        child = self._child(address)
        waits = child.state is ChildState.RESTARTING and child.incarnation + 1 == incarnation
        if waits and address in self._specs and not self._stopping:
            self._start(address)

    # ------------------------------------------------------------------ groups

    def _group_failed(self, group: GroupSpec, why: str) -> None:
        since_s = self._now_s - group.intensity.period_s
        failures = tuple(at_s for at_s in self._group_failures.get(group.address, ()) if at_s > since_s)
        failures = (*failures, self._now_s)
        self._group_failures[group.address] = failures
        parent = self._parents.get(group.address)
        members = leaves(group)
        if len(failures) <= group.intensity.restarts_max:
            self._take_down(members)
            for member in members:
                child = self._child(member.address)
                if child.state is ChildState.RESTARTING:
                    fresh = msgspec.structs.replace(child, failures_s=(), start_failures=0)
                    self._children[member.address] = fresh
                    self._start_or_wait(member.address, 0.0)
        elif group.escalate and parent is not None:
            self._group_failed(parent, why)
        elif group.escalate:
            self.effects.append(Escalate(why=why))
        else:
            for member in reversed(members):
                if self._child(member.address).state not in {ChildState.QUARANTINED, ChildState.STOPPED}:
                    self._kill_if_alive(member.address)
                    self._quarantine(
                        member, f"its group {group.address} is over its restart intensity: {why}"
                    )

    def retry(self, address: Address) -> None:
        spec = self._specs.get(address)
        for member in leaves(spec) if spec is not None else ():
            child = self._child(member.address)
            if child.state is ChildState.QUARANTINED and not member.refused and not self._stopping:
                clean = msgspec.structs.replace(child, failures_s=(), start_failures=0)
                self._children[member.address] = clean
                self._start(member.address)

    def reshaped(self) -> None:
        gone = [address for address in self._children if address not in self._specs]
        for address in reversed(gone):
            if self._child(address).state is not ChildState.STOPPED:
                self.effects.append(Stop(address=address))
            self._former[address] = self._children.pop(address).incarnation
        for address in [a for a in self._group_failures if a not in self._specs]:
            del self._group_failures[address]
        if self._stopping:
            return
        for spec in leaves(self._tree):
            child = self._child(spec.address)
            if spec.refused and child.state in {
                ChildState.STARTING,
                ChildState.RUNNING,
                ChildState.RESTARTING,
            }:
                self._kill_if_alive(spec.address)
                self._quarantine(spec, spec.refused)
            elif not spec.refused and child.state is ChildState.QUARANTINED and child.refused:
                self._start(spec.address)  # what kept it from starting at all is gone
        self.begin()
        away = [address for address in self._former if address not in self._specs]
        self._former = {address: self._former[address] for address in away[-_FORMER_MAX:]}

    def stop_all(self) -> None:
        self._stopping = True
        for spec in reversed(leaves(self._tree)):
            if self._child(spec.address).state is not ChildState.STOPPED:
                self.effects.append(Stop(address=spec.address))
                self._move(spec.address, Step.STOP)
