"""What a pump knows of its plan, and when that is not enough to run on (WDG-1, WDG-2); and its rhythm. Pure."""

from __future__ import annotations

from typing import Final
from zlib import crc32

import msgspec

from actors.messages import PlanIntervals
from actors.plan.selection import governing
from actors.vocabulary import ControlSettings, Instant, Reason
from actors.vocabulary.records import PlanRow

UNHEARD_S: Final = (
    10.0  # so long after its start a pump waits to hear of its plan before it says that there is none
)


class PlanKnowledge(msgspec.Struct, frozen=True, kw_only=True):
    """The newest word of the plan actor. `heard`: it answered at all; `database_answered_at` None: it never read.

    `former` is the row that was in force before `current` and ran out: a wall clock that is set back needs it again.
    """

    heard: bool = False
    former: PlanRow | None = None
    current: PlanRow | None = None
    following: PlanRow | None = None
    database_answered_at: Instant | None = None
    optimiser_heartbeat_age_s: float | None = None
    sent_at: Instant | None = None


class Coverage(msgspec.Struct, frozen=True, kw_only=True):
    """The row in force, or the reason to be in failsafe (then a row may still be in force) with its text."""

    plan: PlanRow | None
    failsafe: Reason | None
    why: str = ""


def learn(known: PlanKnowledge, news: PlanIntervals) -> PlanKnowledge:
    """Return what is known after `news`.

    Older news than known is dropped. A plan actor that has not read the database yet says nothing about plans:
    what is known stays, so that its restart takes no plan away.
    """
    if (
        known.sent_at is not None
        and news.sent_at.boot_id == known.sent_at.boot_id
        and news.sent_at.boot_ns < known.sent_at.boot_ns
    ):
        return known
    if news.database_answered_at is None:
        return msgspec.structs.replace(known, heard=True)
    return PlanKnowledge(
        heard=True,
        former=_former(known, news.current),
        current=news.current,
        following=news.following,
        database_answered_at=news.database_answered_at,
        optimiser_heartbeat_age_s=news.optimiser_heartbeat_age_s,
        sent_at=news.sent_at,
    )


def _former(known: PlanKnowledge, current: PlanRow | None) -> PlanRow | None:
    """Return the row that ended where `current` begins or before; one that was withdrawn is none."""
    before = known.current
    if current is None or before is None:
        return None
    if current == before:
        return known.former
    return before if before.interval_end <= current.interval_start else None


def must_wait(known: PlanKnowledge, *, now: Instant, started_at: Instant) -> bool:
    """Say whether it is too early to tell whether there is a plan."""
    return known.database_answered_at is None and now.seconds_since(started_at) < UNHEARD_S


def coverage(known: PlanKnowledge, *, now: Instant, control: ControlSettings) -> Coverage:
    """Judge the plan at `now`: intervals by the wall clock, as their rows are; the next one takes over by itself.

    A silent database matters only once coverage has ended: known plans are carried out without it. The wall clock is
    the one by which they were read, moved on by the boot clock: a clock that somebody sets in between neither takes a
    known plan away nor brings one back; the next read is by the new one (WDG-1).
    """
    wall = (now if known.database_answered_at is None else known.database_answered_at.unstepped(now)).utc
    plan = governing((known.current, known.following), wall) or governing((known.former,), wall)
    if plan is None:
        return _uncovered(known, now=now, control=control)
    age_s = known.optimiser_heartbeat_age_s
    if age_s is not None and age_s > control.optimiser_heartbeat_s:
        why = f"optimiser heartbeat {age_s:.0f} s off, at most {control.optimiser_heartbeat_s:g} s"
        return Coverage(plan=plan, failsafe=Reason.FAILSAFE_OPTIMISER_STALE, why=why)
    return Coverage(plan=plan, failsafe=None)


def _uncovered(known: PlanKnowledge, *, now: Instant, control: ControlSettings) -> Coverage:
    if not known.heard:
        return Coverage(
            plan=None, failsafe=Reason.FAILSAFE_PLAN_EXPIRED, why="nothing heard from the plan actor"
        )
    answered_at = known.database_answered_at
    if answered_at is None:
        return Coverage(plan=None, failsafe=Reason.FAILSAFE_DATABASE, why="the database has not answered yet")
    silent_s = now.seconds_since(answered_at)
    if silent_s > control.database_unreachable_s:
        why = f"no plan covers now, and the database has been silent for {silent_s:.0f} s"
        return Coverage(plan=None, failsafe=Reason.FAILSAFE_DATABASE, why=why)
    return Coverage(plan=None, failsafe=Reason.FAILSAFE_PLAN_EXPIRED, why="no plan covers now")


def first_beat_after_s(station_id: str, *, period_s: float, now: Instant) -> float:
    """Seconds until the station's next beat: one phase per station on the boot clock, the same for all its pumps.

    Stations are spread over the period; the pumps of one station fall into one round of its safety actor.
    """
    phase_s = crc32(station_id.encode()) / 2**32 * period_s
    return (phase_s - now.boot_ns / 1e9) % period_s
