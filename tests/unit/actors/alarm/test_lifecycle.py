"""The life of alarms: goal: no alarm is lost, doubled or ended by disorder, repetition or silence."""

from __future__ import annotations

from typing import Self

import pytest

from actors.alarm.lifecycle import (
    ALARMS_MAX,
    RETURNS_MAX,
    TRANSITIONS,
    AlarmEvent,
    AlarmList,
    AlarmState,
    acknowledged,
    asserted,
    returned,
    settle,
    taken_over,
    view,
)
from actors.messages import AcknowledgeAlarm, AlarmAsserted, AlarmReturned
from actors.vocabulary import Instant, RefusedError, Severity, UnknownSubjectError
from actors.vocabulary.records import AlarmRecord

T0 = Instant("boot-a", 1_000 * 10**9, 1_800_000_000 * 10**9)


def raised(
    at_s: float,
    *,
    subject: str = "p1",
    severity: Severity = Severity.HIGH,
    text: str = "t",
    boot: str = "boot-a",
) -> AlarmAsserted:
    moment = T0.plus(at_s)
    at = Instant(boot, moment.boot_ns, moment.utc_ns)
    return AlarmAsserted(condition="c", subject=subject, severity=severity, text=text, at=at)


def gone(at_s: float, *, subject: str = "p1") -> AlarmReturned:
    return AlarmReturned(condition="c", subject=subject, at=T0.plus(at_s))


class Desk:
    """An alarm list told things in the given order, with what it wanted recorded."""

    def __init__(self) -> None:
        self.held = AlarmList()
        self.records: list[AlarmRecord] = []

    def tell(self, *news: AlarmAsserted | AlarmReturned, at_s: float | None = None) -> Self:
        for each in news:
            now = each.at if at_s is None else T0.plus(at_s)
            if isinstance(each, AlarmAsserted):
                self.held, records = asserted(self.held, each, now=now)
                self.records += records
            else:
                self.held = returned(self.held, each, now=now)
        return self

    def seen(self, at_s: float, by: str = "anna") -> Self:
        (alarm,) = view(self.held, now=T0)
        command = AcknowledgeAlarm(alarm_id=alarm.alarm_id, by=by, comment="on my way")
        self.held, records = acknowledged(self.held, command, now=T0.plus(at_s))
        self.records += records
        return self

    def settle(self, at_s: float) -> Self:
        self.held, records = settle(self.held, now=T0.plus(at_s))
        self.records += records
        return self

    def states(self) -> list[str]:
        return [alarm.state for alarm in view(self.held, now=T0)]


def test_the_table_is_the_whole_life() -> None:
    """ALM-1: what is absent is illegal; returning what never stood is nothing."""
    assert (AlarmState.NORMAL, AlarmEvent.RETURN) not in TRANSITIONS
    assert (AlarmState.UNACKNOWLEDGED, AlarmEvent.RAISE) not in TRANSITIONS
    assert Desk().tell(gone(1)).states() == []


def test_one_life() -> None:
    """ALM-1: raised, confirmed, returned, recorded once at each end with the moments it happened."""
    desk = Desk().tell(raised(0), raised(10), gone(15)).settle(16).settle(36).settle(37)
    assert desk.states() == ["RETURNED_UNACKNOWLEDGED"]
    opened, closed = desk.records
    assert opened.record_id == closed.record_id
    assert (opened.returned_at, closed.returned_at) == (None, T0.plus(15).utc)


def test_a_chattering_condition_is_one_alarm_and_one_record() -> None:
    """ALM-2: 50 raises and returns within the settling time: one life, 50 occurrences."""
    desk = Desk()
    for number in range(50):
        desk.tell(raised(number), gone(number + 0.5)).settle(number + 0.6)
    (alarm,) = view(desk.held, now=T0.plus(50))
    assert alarm.occurrences == 50
    assert len(desk.records) == 1


def test_a_second_life_has_its_own_record() -> None:
    """ALM-1: back after it had settled: the same alarm, a new record."""
    desk = Desk().tell(raised(0), gone(1)).settle(30).tell(raised(100))
    assert len({record.record_id for record in desk.records}) == 2
    assert desk.states() == ["UNACKNOWLEDGED"]
    (alarm,) = view(desk.held, now=T0.plus(100))
    assert alarm.occurrences == 2


def test_news_that_was_overtaken_changes_nothing() -> None:
    """DESIGN: no order between messages: a late assertion raises nothing, a late return ends nothing."""
    assert Desk().tell(raised(0), gone(2), raised(1)).states() == ["RETURNED_UNACKNOWLEDGED"]
    assert Desk().tell(gone(2), raised(1)).states() == []
    assert Desk().tell(raised(0), raised(5), gone(4)).states() == ["UNACKNOWLEDGED"]


def test_another_boots_clock_hides_no_alarm() -> None:
    """ALM-1: after a reboot of the sender its boot clock is small; its alarms still count."""
    desk = Desk().tell(raised(100), gone(101))
    desk.tell(raised(-900, boot="boot-b"), at_s=102)
    assert desk.states() == ["UNACKNOWLEDGED"]


def test_silence_is_no_return() -> None:
    """ALM-1: not confirmed for more than a minute: stays raised and says so."""
    desk = Desk().tell(raised(0, text="level high"))
    (fresh,) = view(desk.held, now=T0.plus(60))
    (silent,) = view(desk.held, now=T0.plus(61))
    assert fresh.text == "level high"
    assert silent.state == "UNACKNOWLEDGED"
    assert silent.text.startswith("level high [not confirmed since ")


def test_severity_never_falls_while_it_stands() -> None:
    """ALM-1: two who assert the same at different severities: the higher is shown."""
    desk = Desk().tell(raised(0, severity=Severity.CRITICAL), raised(1, severity=Severity.LOW, text="new"))
    (alarm,) = view(desk.held, now=T0.plus(1))
    assert (alarm.severity, alarm.text) == (Severity.CRITICAL, "new")


def test_the_list_is_bounded_and_drops_what_matters_least() -> None:
    """ALM-1: returned ones go first, then the least severe; the newest and the critical stay."""
    desk = Desk()
    desk.tell(raised(0, subject="critical", severity=Severity.CRITICAL))
    desk.tell(raised(0, subject="low", severity=Severity.LOW))
    desk.tell(raised(1, subject="gone"), gone(2, subject="gone"))
    for number in range(ALARMS_MAX - 1):
        desk.tell(raised(3 + number, subject=f"n{number}"))
    subjects = {alarm.subject for alarm in view(desk.held, now=T0)}
    assert len(subjects) == ALARMS_MAX
    assert subjects.isdisjoint({"gone", "low"})
    assert {"critical", f"n{ALARMS_MAX - 2}"} <= subjects
    assert desk.held.dropped == 2
    closed = [record for record in desk.records if record.returned_at is not None]
    assert [record.subject for record in closed] == ["gone"]


def test_remembered_returns_are_bounded() -> None:
    """ALM-1: returns of what never stood cannot fill the memory."""
    desk = Desk()
    for number in range(RETURNS_MAX + 10):
        desk.tell(gone(number, subject=f"n{number}"))
    assert len(desk.held.returns) == RETURNS_MAX


def left_open(at_s: float, *, subject: str = "p1", record_id: str = "old") -> AlarmRecord:
    return AlarmRecord(
        record_id=record_id,
        condition="c",
        subject=subject,
        severity=Severity.HIGH,
        text="t",
        raised_at=T0.plus(at_s).utc,
    )


class Heir(Desk):
    """A new life of the list, handed what the former one left open."""

    def take_over(self, *records: AlarmRecord, at_s: float) -> Self:
        self.held, closing = taken_over(self.held, records, now=T0.plus(at_s))
        self.records += closing
        return self


def test_an_alarm_outlives_the_alarm_actor_in_one_record() -> None:
    """ALM-1: taken up, asserted again, returned: the record that the former life began gets its end."""
    heir = Heir().take_over(left_open(-500), at_s=0)
    (shown,) = view(heir.held, now=T0)
    assert (shown.state, shown.raised_at.utc) == ("UNACKNOWLEDGED", T0.plus(-500).utc)
    heir.tell(raised(10)).settle(200)
    assert heir.states() == ["UNACKNOWLEDGED"]
    heir.tell(gone(300)).settle(330)
    (closed,) = heir.records
    assert (closed.record_id, closed.returned_at) == ("old", T0.plus(300).utc)


def test_an_alarm_that_returned_while_nobody_listened_does_not_stand_for_ever() -> None:
    """ALM-1: not asserted to the new life within a minute: it ends, once."""
    heir = Heir().take_over(left_open(-500), at_s=0).settle(60)
    assert heir.states() == ["UNACKNOWLEDGED"]
    heir.settle(61).settle(81).settle(200)
    assert heir.states() == ["RETURNED_UNACKNOWLEDGED"]
    (closed,) = heir.records
    assert (closed.record_id, closed.returned_at) == ("old", T0.plus(61).utc)


def test_a_return_to_the_new_life_ends_what_the_former_one_began() -> None:
    """ALM-1: heard before or after the old record was taken up; chattering afterwards is a life of its own."""
    late = Heir().tell(gone(1)).take_over(left_open(-500), at_s=2)
    assert [record.returned_at for record in late.records] == [T0.plus(1).utc]
    assert late.states() == []
    early = Heir().take_over(left_open(-500), at_s=0).tell(gone(1), raised(2)).settle(90).settle(200)
    assert early.states() == ["UNACKNOWLEDGED"]
    assert early.records == []


def test_no_old_record_stays_open_beside_a_new_one() -> None:
    """ALM-1: raised anew before the old one was known; several left open; what is ours stays as it is."""
    heir = Heir().tell(raised(5))
    (ours,) = heir.records
    older = left_open(-900, record_id="older")
    heir.take_over(left_open(-500), older, ours, at_s=6)
    ends = {record.record_id: record.returned_at for record in heir.records}
    assert ends == {ours.record_id: None, "old": T0.plus(5).utc, "older": T0.plus(5).utc}
    both = Heir().take_over(older, left_open(-500), at_s=0)
    assert [(record.record_id, record.returned_at) for record in both.records] == [
        ("older", T0.plus(-500).utc)
    ]
    assert both.states() == ["UNACKNOWLEDGED"]


def test_no_more_are_taken_over_than_have_room() -> None:
    """SUP-6: the list stays bounded, the newest are taken."""
    heir = Heir()
    heir.take_over(
        *(left_open(-n, subject=f"n{n}", record_id=f"r{n}") for n in range(1, ALARMS_MAX + 5)), at_s=0
    )
    subjects = {alarm.subject for alarm in view(heir.held, now=T0)}
    assert len(subjects) == ALARMS_MAX
    assert "n1" in subjects
    assert f"n{ALARMS_MAX + 4}" not in subjects


def test_an_alarm_that_was_seen_says_by_whom_until_it_returns() -> None:
    """ALM-1: acknowledged while it stands, confirmed as before, NORMAL once it returns."""
    desk = Desk().tell(raised(0)).seen(5).tell(raised(10))
    (alarm,) = view(desk.held, now=T0.plus(11))
    assert (alarm.state, alarm.acknowledged_by, alarm.comment) == ("ACKNOWLEDGED", "anna", "on my way")
    assert alarm.acknowledged_at == T0.plus(5)
    desk.tell(gone(15)).settle(40)
    assert desk.states() == ["NORMAL"]
    opened, noted, closed = desk.records
    assert opened.record_id == noted.record_id == closed.record_id
    assert (noted.acknowledged_by, noted.acknowledged_at, noted.returned_at) == ("anna", T0.plus(5).utc, None)
    assert (closed.acknowledged_by, closed.returned_at) == ("anna", T0.plus(15).utc)


def test_what_returned_unseen_can_still_be_seen() -> None:
    """ALM-1: returned-unacknowledged, then normal."""
    desk = Desk().tell(raised(0), gone(1)).settle(30)
    assert desk.states() == ["RETURNED_UNACKNOWLEDGED"]
    assert desk.seen(31).states() == ["NORMAL"]


def test_an_acknowledgement_counts_once_and_for_alarms_in_the_list() -> None:
    """ALM-1: seen before, or unknown: refused, and nothing changes."""
    desk = Desk().tell(raised(0)).seen(5)
    with pytest.raises(RefusedError, match="acknowledged by anna"):
        desk.seen(6, by="bert")
    with pytest.raises(UnknownSubjectError):
        acknowledged(desk.held, AcknowledgeAlarm(alarm_id="none", by="anna"), now=T0.plus(7))
    assert len(desk.records) == 2


def test_who_saw_the_last_one_has_not_seen_the_next() -> None:
    """ALM-1: back right after it was seen and returned: unacknowledged again, with a record of its own."""
    desk = Desk().tell(raised(0)).seen(1).tell(gone(2), raised(3))
    assert desk.states() == ["UNACKNOWLEDGED"]
    first, _, ended, second = desk.records
    assert first.record_id == ended.record_id != second.record_id
    assert (ended.returned_at, ended.acknowledged_by) == (T0.plus(2).utc, "anna")
    assert (second.acknowledged_by, second.returned_at) == (None, None)


def test_a_successor_knows_who_has_seen_what() -> None:
    """ALM-1: a restart forgets no acknowledgement, and nothing that returned unseen."""
    before = Desk().tell(raised(0, subject="stands")).seen(5)
    unseen = Desk().tell(raised(0, subject="back"), gone(1, subject="back")).settle(30)
    records = (before.records[-1], unseen.records[-1])
    held, closing = taken_over(AlarmList(), records, now=T0.plus(60))
    assert closing == ()
    stands, back = view(held, now=T0.plus(60))
    assert (stands.subject, stands.state, stands.acknowledged_by) == ("stands", "ACKNOWLEDGED", "anna")
    assert stands.acknowledged_at is not None
    assert stands.acknowledged_at.utc == T0.plus(5).utc
    assert (back.subject, back.state) == ("back", "RETURNED_UNACKNOWLEDGED")
    # Its record has its end: settling writes none, and it never counts as raised again by itself.
    assert settle(held, now=T0.plus(70))[1] == ()
    # What was raised anew meanwhile goes on as that.
    anew = Desk().tell(raised(50, subject="back")).held
    held, closing = taken_over(anew, records[1:], now=T0.plus(60))
    assert (closing, [alarm.state for alarm in view(held, now=T0.plus(60))]) == ((), ["UNACKNOWLEDGED"])
