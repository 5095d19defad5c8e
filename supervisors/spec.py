"""Child specs as data: what is started, in which order, and what is done when it fails (SUP-2)."""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum, unique
from typing import Final, TypeAlias

import msgspec

from actors.start import WorkerStart
from actors.vocabulary import Address, InvalidValueError, Role
from actors.vocabulary.settings import LIVENESS_DEADLINE_S, LIVENESS_PERIOD_S
from supervisors.mailbox import BOUND_DEFAULT


@unique
class Restart(StrEnum):
    """When a child that ended is started again."""

    PERMANENT = "permanent"  # always
    TRANSIENT = "transient"  # only after a failure
    TEMPORARY = "temporary"  # never


@unique
class Strategy(StrEnum):
    """Who is restarted with a failed child."""

    ONE_FOR_ONE = "one_for_one"
    ONE_FOR_ALL = "one_for_all"
    REST_FOR_ONE = "rest_for_one"
    DYNAMIC = "dynamic"  # one_for_one whose children come and go


class Intensity(msgspec.Struct, frozen=True, kw_only=True):
    """At most `restarts_max` restarts within `period_s`; the next failure is one too many."""

    restarts_max: int = 5
    period_s: float = 60.0


class Backoff(msgspec.Struct, frozen=True, kw_only=True):
    """The first failure of a period restarts at once; from the second on waiting doubles from `first_s` to `max_s`.

    `jitter` is the share of the wait that is random, so that a common cause does not bring all back in one moment.
    """

    first_s: float = 0.1
    max_s: float = 30.0
    jitter: float = 0.2


class ChildSpec(msgspec.Struct, frozen=True, kw_only=True, tag="child"):
    """One process. `start_failures_max` None: a start that fails is tried again for ever (with back-off).

    `refused`: it is not started at all but shown as quarantined with this reason.
    """

    start: WorkerStart
    restart: Restart = Restart.PERMANENT
    intensity: Intensity = Intensity()
    backoff: Backoff = Backoff()
    start_failures_max: int | None = 10
    start_deadline_s: float = 20.0
    shutdown_s: float = 2.0
    mailbox_bound: int = BOUND_DEFAULT
    liveness_period_s: float = LIVENESS_PERIOD_S
    liveness_deadline_s: float = LIVENESS_DEADLINE_S
    escalate: bool = False
    refused: str = ""

    @property
    def address(self) -> Address:
        """Its address is its id."""
        return self.start.address

    @property
    def role(self) -> Role:
        """What it does."""
        return self.start.role


class GroupSpec(msgspec.Struct, frozen=True, kw_only=True, tag="group"):
    """A supervisor without a process of its own: a strategy over children, in start order.

    `intensity` counts the restarts of the whole group (one_for_all, rest_for_one, escalations from below). Over it the
    group is quarantined, or, with `escalate`, its parent restarts; at the top the supervisor's process ends.
    """

    address: Address
    strategy: Strategy = Strategy.ONE_FOR_ONE
    children: tuple[ChildSpec | GroupSpec, ...] = ()
    intensity: Intensity = Intensity()
    escalate: bool = False


Spec: TypeAlias = ChildSpec | GroupSpec

DEPTH_MAX: Final = 8


def walk(spec: Spec) -> Iterator[Spec]:
    """Yield `spec` and all below it in start order, a group before its children."""
    yield spec
    if isinstance(spec, GroupSpec):
        for child in spec.children:
            yield from walk(child)


def leaves(spec: Spec) -> tuple[ChildSpec, ...]:
    """Return the processes of `spec` in start order."""
    return tuple(each for each in walk(spec) if isinstance(each, ChildSpec))


def validate(tree: GroupSpec) -> None:
    """Check a tree before anything of it starts.

    Raises:
        InvalidValueError: the text names the address, the value and what was expected.

    """
    seen: set[Address] = set()
    for spec in walk(tree):
        place = f"spec {spec.address}"
        if spec.address in seen:
            raise InvalidValueError(f"{place}: the address occurs twice")
        seen.add(spec.address)
        if not spec.address.startswith("/"):
            raise InvalidValueError(f"{place}: an address begins with '/'")
        _positive(place, "intensity.restarts_max", spec.intensity.restarts_max)
        _positive(place, "intensity.period_s", spec.intensity.period_s)
        if isinstance(spec, ChildSpec):
            _validate_child(place, spec)
    if _depth(tree) > DEPTH_MAX:
        raise InvalidValueError(f"spec {tree.address}: deeper than {DEPTH_MAX} groups")


def _validate_child(place: str, spec: ChildSpec) -> None:
    for name in (
        "start_deadline_s",
        "shutdown_s",
        "mailbox_bound",
        "liveness_period_s",
        "liveness_deadline_s",
    ):
        _positive(place, name, getattr(spec, name))
    if spec.start_failures_max is not None:
        _positive(place, "start_failures_max", spec.start_failures_max)
    backoff = spec.backoff
    if not 0.0 < backoff.first_s <= backoff.max_s:
        raise InvalidValueError(
            f"{place}: backoff {backoff.first_s} to {backoff.max_s} s, expected 0 < first <= max"
        )
    if not 0.0 <= backoff.jitter < 1.0:
        raise InvalidValueError(f"{place}: backoff.jitter {backoff.jitter}, expected 0 <= jitter < 1")


def _positive(place: str, name: str, value: float) -> None:
    if not value > 0:
        raise InvalidValueError(f"{place}: {name} {value}, expected more than 0")


def _depth(spec: Spec) -> int:
    if isinstance(spec, ChildSpec):
        return 0
    return 1 + max((_depth(child) for child in spec.children), default=0)
