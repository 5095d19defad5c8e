"""What a change of limits does, and whether it may: diff, envelope, consistency; pure (SAF-6).

A remote change may tighten, or widen as far as the commissioning envelope. Where the envelope has no bound nobody ever
said how far is safe: such a limit may be tightened only.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from enum import StrEnum, unique
from typing import Any, Final

import msgspec

from actors.safety.limits import problems
from actors.vocabulary import SafetyLimits
from actors.vocabulary.limits import (
    LIMIT_KEYS,
    NEEDED_ALWAYS,
    NEEDED_LIMITS,
    Envelope,
    LimitKey,
    LimitsBook,
    Tighter,
)

VALUE_MAX: Final = 1e9
"""No quantity of a pump station is beyond this, and the database stores none."""

_SHOWN_MAX: Final = 60

# Besides what the kernel needs (actors.safety.limits), the tables want these apart: with both the same a pump would
# stop and return at one level.
_STRICTLY_BELOW: Final = (
    ("hard_min_speed_hz", "hard_max_speed_hz"),
    ("level_dry_run_m", "level_dry_run_reset_m"),
    ("level_emergency_high_reset_m", "level_emergency_high_m"),
)
_TOGETHER: Final = (
    ("level_dry_run_m", "level_dry_run_reset_m"),
    ("level_emergency_high_m", "level_emergency_high_reset_m"),
)


@unique
class Direction(StrEnum):
    """What a change does to protection."""

    TIGHTER = "TIGHTER"
    WIDER = "WIDER"


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """One key that differs: from (None: it was not set), to, and whether that protects more or less."""

    key: str
    unit: str
    before: float | None
    after: float | None
    direction: Direction
    bound: float | None = None


def values_of(limits: SafetyLimits | None) -> dict[str, float]:
    """Return the limits that are set, by key."""
    if limits is None:
        return {}
    found = {name: getattr(limits, name) for name in LIMIT_KEYS}
    return {name: value for name, value in found.items() if value is not None}


def diff(
    before: Mapping[str, float | None], after: Mapping[str, float | None], envelope: Envelope | None = None
) -> tuple[Change, ...]:
    """Return the keys that differ, in the order in which limits are shown."""
    changes = []
    for name, key in LIMIT_KEYS.items():
        old, new = before.get(name), after.get(name)
        if old == new:
            continue
        wider = new is None or (old is not None and _is_wider(key, new, than=old))
        changes.append(
            Change(
                key=name,
                unit=key.unit,
                before=old,
                after=new,
                direction=Direction.WIDER if wider else Direction.TIGHTER,
                bound=None if envelope is None else envelope.bounds.get(name),
            )
        )
    return tuple(changes)


def malformed(changes: Mapping[str, Any]) -> tuple[str, ...]:
    """Name each key that is no limit and each value that is no number a limit could have."""
    return tuple(_malformed(changes))


def _malformed(changes: Mapping[str, Any]) -> Iterator[str]:
    if not changes:
        yield f"changes: empty, expected one or more of {', '.join(LIMIT_KEYS)}"
    for name, value in changes.items():
        key = LIMIT_KEYS.get(name)
        if key is None:
            yield f"{name[:_SHOWN_MAX]!r}: not a limit, expected one of {', '.join(LIMIT_KEYS)}"
        elif value is None:
            yield f"{name}: null, expected a number ({key.unit}): a limit is not removed remotely"
        elif isinstance(value, bool) or not isinstance(value, int | float):
            yield f"{name}: {str(value)[:_SHOWN_MAX]!r}, expected a number ({key.unit})"
        elif not -VALUE_MAX <= value <= VALUE_MAX:  # NaN compares with nothing
            # A whole number may have more digits than a float, or a text, can hold.
            shown = f"{value:g}" if isinstance(value, float) else "a number beyond any limit"
            yield f"{name}: {shown}, expected a finite number ({key.unit}) up to {VALUE_MAX:g}"
        elif key.whole and value != int(value):
            yield f"{name}: {value:g}, expected a whole number ({key.unit})"


def forbidden(book: LimitsBook, values: Mapping[str, float]) -> tuple[str, ...]:
    """Name everything that keeps `values` (all limits, as they would be) from coming into force.

    The whole set is judged, not only what changes: the envelope may have been narrowed since.
    """
    if book.envelope is None:
        return (
            f"pump {book.pump_id}: not commissioned, it has no envelope; expected `calejo db commission`",
        )
    return tuple(_forbidden(book, book.envelope, values))


def _forbidden(book: LimitsBook, envelope: Envelope, values: Mapping[str, float]) -> Iterator[str]:
    for name in (*NEEDED_ALWAYS, *NEEDED_LIMITS[book.control_type]):
        if name not in values:
            yield f"{name}: not set, expected a number: {book.control_type} needs it"
    in_force = values_of(book.current)
    for name, key in LIMIT_KEYS.items():
        why = _outside(key, values.get(name), envelope.bounds.get(name), in_force.get(name))
        if why:
            yield f"{name}: {why}"
    yield from inconsistencies(values)


def _outside(key: LimitKey, value: float | None, bound: float | None, in_force: float | None) -> str | None:
    """Say why a value protects less than it must."""
    side = "at most" if key.tighter is Tighter.LOWER else "at least"
    if bound is not None:
        expected = f"expected {side} {bound:g} {key.unit}, the commissioning envelope's bound"
        if value is None:
            return f"not set, {expected}"
        return f"{value:g} {key.unit}, {expected}" if _is_wider(key, value, than=bound) else None
    if in_force is None or (value is not None and not _is_wider(key, value, than=in_force)):
        return None
    shown = "not set" if value is None else f"{value:g} {key.unit}"
    return (
        f"{shown}, expected {side} the {in_force:g} {key.unit} in force: the commissioning envelope has no bound for"
        " it, so it may be tightened only"
    )


def inconsistencies(values: Mapping[str, float]) -> tuple[str, ...]:
    """Name every relation between keys that `values` break, as the kernel, discovery and the tables see it."""
    if any(name not in values for name in NEEDED_ALWAYS):
        return ()  # named as missing already, and the rest cannot be judged without
    found = list(problems(limits_of(values, version=1)))
    for lower, upper in _STRICTLY_BELOW:
        if lower in values and upper in values and values[lower] == values[upper]:
            found.append(f"{lower}: {values[lower]:g} must be below {upper}: {values[upper]:g}")
    for one, other in _TOGETHER:
        if (one in values) != (other in values):
            missing, present = (other, one) if one in values else (one, other)
            found.append(f"{missing}: not set, although {present} is")
    return tuple(dict.fromkeys(found))


def limits_of(values: Mapping[str, float], *, version: int) -> SafetyLimits:
    """Return `values` as the kernel takes them."""
    numbers: dict[str, Any] = {name: float(value) for name, value in values.items()}
    starts = numbers.pop("max_starts_per_hour", None)
    return SafetyLimits(
        version=version, max_starts_per_hour=None if starts is None else int(starts), **numbers
    )


def _is_wider(key: LimitKey, value: float, *, than: float) -> bool:
    return value > than if key.tighter is Tighter.LOWER else value < than
