"""The names and states of conditions: goal: stable, distinct, and nothing in them that a wire cannot carry."""

from __future__ import annotations

from typing import Any

import msgspec

from actors.vocabulary import Severity
from actors.vocabulary.client_calls import ShownAlarm, ShownAlarms
from protocols.opcua import limits
from protocols.opcua.conditions import Conditions, event_id, node_of
from protocols.opcua.events import EventData
from protocols.opcua.ids import own
from tests.wire.opcua.served import PUMP, alarm_shown


def test_a_condition_has_one_node_id_whatever_its_subject_holds() -> None:
    """OPC-3: names of broken rows may be long or no text at all; two of them are still two."""
    assert node_of("dry_run", "p1") == own("conditions/dry_run/p1")
    long, broken = "x" * 1_000, "row \udcff"
    names = [node_of("c", subject) for subject in (long, long + "y", broken, "row ?")]
    assert len(set(names)) == 4
    assert names == [node_of("c", subject) for subject in (long, long + "y", broken, "row ?")]
    for name in names:
        assert isinstance(name.Identifier, str)
        assert len(name.Identifier.encode("utf-8")) < 400


def test_an_event_id_is_of_a_state_and_of_one_life() -> None:
    """OPC-3: the same state has the same id; what is told as an event has another."""
    alarm = alarm_shown("dry_run", "p1", PUMP)
    others = [
        msgspec.structs.replace(alarm, **change)
        for change in (
            {"alarm_id": "another life"},
            {"active": False},
            {"acknowledged": True},
            {"severity": Severity.CRITICAL},
            {"occurrences": 2},
        )
    ]
    assert len({event_id(each) for each in (alarm, *others)}) == 6
    assert event_id(msgspec.structs.replace(alarm, text="other figures")) == event_id(alarm)


class Nodes:
    """The condition instances, without an address space."""

    def __init__(self) -> None:
        self.there: set[Any] = set()

    def add(self, node: Any, _: Any) -> None:
        self.there.add(node)

    def remove(self, node: Any) -> None:
        self.there.remove(node)

    def show(self, *_: Any) -> None:
        """Values are nobody's matter here."""

    def mark(self, *, current: bool) -> None:
        """Quality is nobody's matter here."""


def many(count: int, **fields: Any) -> tuple[ShownAlarm, ...]:
    return tuple(alarm_shown("dry_run", f"p{number}", PUMP, **fields) for number in range(count))


def test_more_alarms_than_conditions_change_none_that_is_shown() -> None:
    """OPC-3, ALM-1: what is shown and still holds is never told as returned, wherever in the list it stands."""
    told: list[EventData] = []
    nodes = Nodes()
    conditions = Conditions(nodes, tell=told.append)  # type: ignore[arg-type] # the instances are played
    alarms = many(limits.CONDITIONS_MAX)
    conditions.show(ShownAlarms(alarms=alarms, whole=True))
    assert (len(told), len(nodes.there), conditions.hidden) == (
        limits.CONDITIONS_MAX,
        limits.CONDITIONS_MAX,
        0,
    )
    told.clear()
    newer = tuple(alarm_shown("high", f"q{number}", PUMP) for number in range(100))
    conditions.show(ShownAlarms(alarms=(*newer, *alarms), whole=True))
    (warning,) = told
    assert warning.field("Message").Value.Text == "100 alarms are not shown here: more than 500 at a time"
    assert warning.field("SourceNode").Value == own("/north")
    assert own("/north") in warning.heard_at
    assert nodes.there == {node_of("dry_run", f"p{number}") for number in range(limits.CONDITIONS_MAX)}
    told.clear()
    conditions.show(ShownAlarms(alarms=(*newer, *alarms), whole=True))
    assert told == [], "said once"
    heard: list[EventData] = []
    conditions.refresh(heard.append)
    assert len(heard) == limits.CONDITIONS_MAX + 3, "a refresh says it, too"
    # As many leave as are missing: what was not shown comes in at once, and the site hears that all are shown.
    conditions.show(ShownAlarms(alarms=(*newer, *alarms[100:]), whole=True))
    gone = [each for each in told if each.condition in {node_of("dry_run", f"p{n}") for n in range(100)}]
    assert len(gone) == 100
    assert all(each.field("Retain").Value is False for each in gone)
    assert told[-1].field("Message").Value.Text == "every alarm is shown again"
    assert {node_of("high", f"q{number}") for number in range(100)} <= nodes.there
