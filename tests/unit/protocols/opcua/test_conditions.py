"""The names and states of conditions: goal: stable, distinct, and nothing in them that a wire cannot carry."""

from __future__ import annotations

import msgspec

from actors.vocabulary import Severity
from protocols.opcua.conditions import event_id, node_of
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
