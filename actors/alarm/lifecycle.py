"""The life of an alarm as one table, and the bounded list of all of them (ALM-1).

Alarms are told apart by (condition, subject): whoever asserts the same again, from wherever, adds no second one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from enum import StrEnum, unique
from typing import Final
from uuid import NAMESPACE_URL, uuid5

import msgspec

from actors.messages import AcknowledgeAlarm, AlarmAsserted, AlarmReturned, AlarmView
from actors.vocabulary import Instant, RefusedError, Severity, UnknownSubjectError
from actors.vocabulary.records import AlarmRecord

ALARMS_MAX: Final = 1_000
# Asserted every 10 to 15 s while it holds; four missed in a row are no accident.
CONFIRMED_S_MAX: Final = 60.0
# A condition that is back within this time never really left: one life, one record, however it chatters.
RETURN_SETTLE_S: Final = 20.0
assert RETURN_SETTLE_S < CONFIRMED_S_MAX
# Returns remembered so that an assertion which was sent earlier and comes later raises nothing.
RETURNS_MAX: Final = 256


@unique
class AlarmState(StrEnum):
    """States of ISA-18.2 that exist so far; NORMAL is an alarm that is not in the list, or returned and seen."""

    NORMAL = "NORMAL"
    UNACKNOWLEDGED = "UNACKNOWLEDGED"
    ACKNOWLEDGED = "ACKNOWLEDGED"
    RETURNED_UNACKNOWLEDGED = "RETURNED_UNACKNOWLEDGED"


@unique
class AlarmEvent(StrEnum):
    """What can happen to an alarm."""

    RAISE = "RAISE"
    RETURN = "RETURN"
    ACKNOWLEDGE = "ACKNOWLEDGE"


TRANSITIONS: Final[Mapping[tuple[AlarmState, AlarmEvent], AlarmState]] = {
    (AlarmState.NORMAL, AlarmEvent.RAISE): AlarmState.UNACKNOWLEDGED,
    (AlarmState.UNACKNOWLEDGED, AlarmEvent.RETURN): AlarmState.RETURNED_UNACKNOWLEDGED,
    (AlarmState.UNACKNOWLEDGED, AlarmEvent.ACKNOWLEDGE): AlarmState.ACKNOWLEDGED,
    (AlarmState.ACKNOWLEDGED, AlarmEvent.RETURN): AlarmState.NORMAL,
    (AlarmState.RETURNED_UNACKNOWLEDGED, AlarmEvent.RAISE): AlarmState.UNACKNOWLEDGED,
    (AlarmState.RETURNED_UNACKNOWLEDGED, AlarmEvent.ACKNOWLEDGE): AlarmState.NORMAL,
}

_RANK: Final = {Severity.LOW: 0, Severity.MEDIUM: 1, Severity.HIGH: 2, Severity.CRITICAL: 3}
Key = tuple[str, str]


class Alarm(msgspec.Struct, frozen=True, kw_only=True):
    """One alarm. `asserted_at`: the newest assertion by its sender's time, `confirmed_at` by ours.

    `closed`: its record has its end. `inherited`: taken over from a former life of the alarm actor, and nobody has
    asserted it to this one yet.
    """

    alarm_id: str
    condition: str
    subject: str
    severity: Severity
    state: AlarmState
    text: str
    raised_at: Instant
    asserted_at: Instant
    confirmed_at: Instant
    returned_at: Instant | None = None
    occurrences: int = 1
    closed: bool = False
    inherited: bool = False
    acknowledged_at: Instant | None = None
    acknowledged_by: str = ""
    comment: str = ""


class AlarmList(msgspec.Struct, frozen=True, kw_only=True):
    """All alarms known, at most ALARMS_MAX, and the latest returns; `dropped` counts those that had to go."""

    alarms: dict[Key, Alarm] = msgspec.field(default_factory=dict)
    returns: dict[Key, Instant] = msgspec.field(default_factory=dict)
    dropped: int = 0


def asserted(
    held: AlarmList, news: AlarmAsserted, *, now: Instant
) -> tuple[AlarmList, tuple[AlarmRecord, ...]]:
    """Raise an alarm or confirm it; return what is to be recorded. Overtaken news changes nothing."""
    key = (news.condition, news.subject)
    gone_at = held.returns.get(key)
    if gone_at is not None and _earlier(news.at, gone_at):
        return held, ()
    known = held.alarms.get(key)
    if known is None:
        return _begin(held, key, news, occurrences=1, now=now)
    after = TRANSITIONS.get((known.state, AlarmEvent.RAISE))
    if after is None:
        # It stands already: the newest text and the highest severity count.
        severity = max(known.severity, news.severity, key=lambda level: _RANK[level])
        confirmed = msgspec.structs.replace(
            known,
            text=news.text,
            severity=severity,
            asserted_at=news.at,
            confirmed_at=now,
            inherited=False,
        )
        return _with(held, key, confirmed), ()
    if known.closed:
        return _begin(held, key, news, occurrences=known.occurrences + 1, now=now)
    if known.acknowledged_at is not None:
        # Who has seen the last one has not seen this one: a life of its own, however soon it is back.
        held, records = _begin(held, key, news, occurrences=known.occurrences + 1, now=now)
        return held, (_record(known), *records)
    back = msgspec.structs.replace(
        known,
        state=after,
        text=news.text,
        severity=news.severity,
        asserted_at=news.at,
        confirmed_at=now,
        returned_at=None,
        occurrences=known.occurrences + 1,
        inherited=False,
    )
    return _with(held, key, back), ()


def returned(held: AlarmList, news: AlarmReturned, *, now: Instant) -> AlarmList:
    """Note that a condition holds no longer; one that never held, or returned before, changes nothing."""
    key = (news.condition, news.subject)
    known = held.alarms.get(key)
    if known is not None and _earlier(news.at, known.asserted_at):
        return held
    returns = {other: at for other, at in held.returns.items() if other != key}
    returns[key] = news.at
    if len(returns) > RETURNS_MAX:
        del returns[next(iter(returns))]
    held = msgspec.structs.replace(held, returns=returns)
    after = None if known is None else TRANSITIONS.get((known.state, AlarmEvent.RETURN))
    if known is None or after is None:
        return held
    return _with(held, key, msgspec.structs.replace(known, state=after, returned_at=now))


def acknowledged(
    held: AlarmList, command: AcknowledgeAlarm, *, now: Instant
) -> tuple[AlarmList, tuple[AlarmRecord, ...]]:
    """Note that a person has seen an alarm; return what is to be recorded.

    Raises:
        UnknownSubjectError: no alarm in the list has that id.
        RefusedError: it was acknowledged before.

    """
    found = next((item for item in held.alarms.items() if item[1].alarm_id == command.alarm_id), None)
    if found is None:
        raise UnknownSubjectError(f"alarm {command.alarm_id[:60]!r} is not in the list (any longer)")
    key, alarm = found
    after = TRANSITIONS.get((alarm.state, AlarmEvent.ACKNOWLEDGE))
    if after is None:
        raise RefusedError(
            f"alarm {alarm.alarm_id} was acknowledged by {alarm.acknowledged_by or 'somebody'}"
        )
    seen = msgspec.structs.replace(
        alarm, state=after, acknowledged_at=now, acknowledged_by=command.by, comment=command.comment
    )
    return _with(held, key, seen), (_record(seen),)


def taken_over(
    held: AlarmList, records: Iterable[AlarmRecord], *, now: Instant
) -> tuple[AlarmList, tuple[AlarmRecord, ...]]:
    """Take up what a former life of the alarm actor left without an end or unseen; return what is to be recorded.

    One that was raised anew meanwhile goes on as that: its old record ends where the new one begins; one that returned
    meanwhile ended then. Of several open records of one alarm the newest is taken up, the others end where it begins.
    """
    ours = {alarm.alarm_id for alarm in held.alarms.values()}
    closing: list[AlarmRecord] = []
    for record in sorted(records, key=lambda each: (each.raised_at, each.record_id), reverse=True):
        if record.record_id in ours:
            continue
        key = (record.condition, record.subject)
        known = held.alarms.get(key)
        ended = known.raised_at if known is not None else held.returns.get(key)
        if record.returned_at is not None and (ended is not None or record.acknowledged_at is not None):
            continue
        if ended is not None:
            closing.append(msgspec.structs.replace(record, returned_at=max(record.raised_at, ended.utc)))
            continue
        if len(held.alarms) >= ALARMS_MAX:
            # Those that are left are taken up by the next life, when there is room again.
            break
        held = _with(held, key, _inherited(record, now=now))
    return held, tuple(closing)


def _inherited(record: AlarmRecord, *, now: Instant) -> Alarm:
    age_s = (now.utc - record.raised_at).total_seconds()
    seen = record.acknowledged_at is not None
    state = AlarmState.ACKNOWLEDGED if seen else AlarmState.UNACKNOWLEDGED
    returned_at = None
    if record.returned_at is not None:
        state = TRANSITIONS[state, AlarmEvent.RETURN]
        returned_at = _moment(record.returned_at, now)
    # Whoever reports it says so again within 15 s: news of its return counts from now on, whenever it is sent.
    return Alarm(
        alarm_id=record.record_id,
        condition=record.condition,
        subject=record.subject,
        severity=record.severity,
        state=state,
        text=record.text,
        raised_at=now.plus(-age_s),
        asserted_at=now.plus(-age_s),
        confirmed_at=now,
        returned_at=returned_at,
        closed=returned_at is not None,
        inherited=returned_at is None,
        acknowledged_at=None if record.acknowledged_at is None else _moment(record.acknowledged_at, now),
        acknowledged_by=record.acknowledged_by or "",
        comment=record.acknowledge_comment or "",
    )


def _moment(at: datetime, now: Instant) -> Instant:
    """Return a time of a record on our boot clock, as far as the wall clock can tell."""
    return now.plus((at - now.utc).total_seconds())


def settle(held: AlarmList, *, now: Instant) -> tuple[AlarmList, tuple[AlarmRecord, ...]]:
    """Close the records of alarms that have stayed away, as of the moment they returned.

    An inherited alarm that nobody asserts within a minute returned while nobody listened: it counts as returned now.
    """
    alarms = dict(held.alarms)
    records: list[AlarmRecord] = []
    for key, former in held.alarms.items():
        alarm = former
        silent = now.seconds_since(alarm.confirmed_at) > CONFIRMED_S_MAX
        if alarm.inherited and alarm.returned_at is None and silent:
            after = TRANSITIONS[alarm.state, AlarmEvent.RETURN]
            alarm = msgspec.structs.replace(alarm, state=after, returned_at=now, inherited=False)
            alarms[key] = alarm
        at = alarm.returned_at
        if at is not None and not alarm.closed and now.seconds_since(at) >= RETURN_SETTLE_S:
            alarms[key] = msgspec.structs.replace(alarm, closed=True)
            records.append(_record(alarm))
    return msgspec.structs.replace(held, alarms=alarms), tuple(records)


def view(held: AlarmList, *, now: Instant) -> tuple[AlarmView, ...]:
    """Return all alarms, raised ones first, then the newest.

    An alarm whose assertion nobody confirms any longer stays raised and says so: silence is no return.
    """
    ordered = sorted(
        held.alarms.values(),
        key=lambda alarm: (alarm.returned_at is not None, -alarm.raised_at.utc_ns),
    )
    return tuple(
        AlarmView(
            alarm_id=alarm.alarm_id,
            condition=alarm.condition,
            subject=alarm.subject,
            severity=alarm.severity,
            state=alarm.state.value,
            text=_text(alarm, now=now),
            raised_at=alarm.raised_at,
            returned_at=alarm.returned_at,
            occurrences=alarm.occurrences,
            acknowledged_at=alarm.acknowledged_at,
            acknowledged_by=alarm.acknowledged_by,
            comment=alarm.comment,
        )
        for alarm in ordered
    )


def _begin(
    held: AlarmList, key: Key, news: AlarmAsserted, *, occurrences: int, now: Instant
) -> tuple[AlarmList, tuple[AlarmRecord, ...]]:
    beginning = f"calejo:alarm:{news.condition}:{news.subject}:{news.at.boot_id}:{news.at.boot_ns}"
    alarm = Alarm(
        alarm_id=str(uuid5(NAMESPACE_URL, beginning)),
        condition=news.condition,
        subject=news.subject,
        severity=news.severity,
        state=TRANSITIONS[AlarmState.NORMAL, AlarmEvent.RAISE],
        text=news.text,
        raised_at=news.at,
        asserted_at=news.at,
        confirmed_at=now,
        occurrences=occurrences,
    )
    after, displaced = _bounded(_with(held, key, alarm), key)
    return after, (*displaced, _record(alarm))


def _earlier(at: Instant, than: Instant) -> bool:
    """Whether news of `at` was sent before other news; clocks of two boots cannot tell, so nothing is dropped."""
    return at.boot_id == than.boot_id and at.boot_ns < than.boot_ns


def _with(held: AlarmList, key: Key, alarm: Alarm) -> AlarmList:
    return msgspec.structs.replace(held, alarms={**held.alarms, key: alarm})


def _bounded(held: AlarmList, newest: Key) -> tuple[AlarmList, tuple[AlarmRecord, ...]]:
    """Make room: the longest returned goes first, then the least severe and oldest, never the one just raised."""
    if len(held.alarms) <= ALARMS_MAX:
        return held, ()
    key, alarm = min(
        (entry for entry in held.alarms.items() if entry[0] != newest),
        key=lambda entry: _keeping_order(entry[1]),
    )
    remaining = {other: kept for other, kept in held.alarms.items() if other != key}
    # A record without an end would tell for ever that it still holds; here it ends only if it did return.
    records = (_record(alarm),) if alarm.returned_at is not None and not alarm.closed else ()
    return msgspec.structs.replace(held, alarms=remaining, dropped=held.dropped + 1), records


def _keeping_order(alarm: Alarm) -> tuple[bool, int, int]:
    if alarm.returned_at is not None:
        return (False, 0, alarm.returned_at.boot_ns)
    return (True, _RANK[alarm.severity], alarm.raised_at.boot_ns)


def _record(alarm: Alarm) -> AlarmRecord:
    return AlarmRecord(
        record_id=alarm.alarm_id,
        condition=alarm.condition,
        subject=alarm.subject,
        severity=alarm.severity,
        text=alarm.text,
        raised_at=alarm.raised_at.utc,
        returned_at=None if alarm.returned_at is None else alarm.returned_at.utc,
        acknowledged_at=None if alarm.acknowledged_at is None else alarm.acknowledged_at.utc,
        acknowledged_by=alarm.acknowledged_by or None,
        acknowledge_comment=alarm.comment or None,
    )


def _text(alarm: Alarm, *, now: Instant) -> str:
    unconfirmed = now.seconds_since(alarm.confirmed_at) > CONFIRMED_S_MAX
    if alarm.returned_at is None and unconfirmed:
        since = alarm.confirmed_at.utc.isoformat(timespec="seconds")
        return f"{alarm.text} [not confirmed since {since}: whoever reports it is silent]"
    return alarm.text
