"""The edge node's session as messages: numbers, births, deaths, what is new, and what comes late."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice

import msgspec

from actors.vocabulary import Quality, SafetyLimits
from protocols.sparkplug.edge import TOLD_MAX, EdgeNode, Outgoing, Sample
from protocols.sparkplug.names import Node, definitions, sparkplug_points
from protocols.sparkplug.schema import Payload, by_key, decode
from tests.unit.protocols.plants import north
from tests.unit.protocols.sparkplug.test_names import site_without

SETPOINT = "/north/s1/p1/setpoint"
STOP = "/north/emergency_stop"


def read(message: Outgoing) -> Payload:
    return decode(message.payload, metrics_max=1_000)


def said(messages: Iterable[Outgoing]) -> list[tuple[str, int | None]]:
    """Return each message's verb with its device, and its sequence number."""
    found = []
    for message in messages:
        parts = message.topic.split("/")
        found.append((" ".join([parts[2], *parts[4:]]), read(message).seq))
    return found


def value(path: str, given: bool | float, *, at_ms: int = 1, quality: Quality = Quality.GOOD) -> Sample:
    return Sample(path, given, quality, at_ms)


def born(*samples: Sample) -> EdgeNode:
    edge = EdgeNode(Node("calejo", "north"))
    edge.configure(definitions(sparkplug_points(north())))
    edge.take(samples)
    edge.connect(3, now_ms=10)
    list(edge.births(now_ms=11))
    return edge


def test_a_session_begins_with_all_births_in_order() -> None:
    """SPB-1: NBIRTH with 0, then every device, one number after the other; then nothing until something changes."""
    edge = EdgeNode(Node("calejo", "north"))
    edge.configure(definitions(sparkplug_points(north())))
    edge.connect(0, now_ms=1)
    births = said(edge.births(now_ms=2))
    assert births[0] == ("NBIRTH", 0)
    assert {name.split()[0] for name, _ in births[1:]} == {"DBIRTH"}
    assert [seq for _, seq in births] == list(range(len(births)))
    assert list(edge.changes(now_ms=3)) == []


def test_death_carries_the_births_number_and_nothing_else() -> None:
    """SPB-1: NDEATH has one metric, no seq, quality of service 1, not retained; the birth repeats its bdSeq."""
    edge = EdgeNode(Node("calejo", "north"))
    edge.configure(definitions(sparkplug_points(north())))
    death = edge.connect(255, now_ms=1)
    payload = read(death)
    assert (death.qos, death.retain, payload.seq) == (1, False, None)
    assert [(each.name, each.value) for each in payload.metrics] == [("bdSeq", 255)]
    birth = next(iter(edge.births(now_ms=2)))
    assert ("bdSeq", 255) in [(each.name, each.value) for each in read(birth).metrics]
    assert (birth.qos, birth.retain) == (0, False)


def test_a_point_without_a_value_is_null_not_zero() -> None:
    """SPB-1, CTL-4: never written is null and BAD; a written 0 is 0."""
    edge = EdgeNode(Node("calejo", "north"))
    edge.configure(definitions(sparkplug_points(north())))
    edge.take([value(SETPOINT, 0.0)])
    edge.connect(0, now_ms=1)
    (pump,) = [each for each in edge.births(now_ms=2) if each.topic.endswith("s1.p1")]
    metrics = {each.name: each for each in read(pump).metrics}
    assert metrics["setpoint"].value == 0.0
    assert metrics["actual_speed"].value is None
    assert by_key(metrics["actual_speed"].properties)["Quality"] == 0
    assert by_key(metrics["setpoint"].properties)["Quality"] == 192


def test_only_what_changed_is_said_and_by_its_alias() -> None:
    """SPB-1: report by exception; the last of several values; quality alone is a change, the time alone is none."""
    edge = born(value(SETPOINT, 30.0))
    assert edge.take([value(SETPOINT, 30.0, at_ms=99)]) == []
    edge.take([value(SETPOINT, 31.0), value(SETPOINT, 32.0, at_ms=7)])
    edge.take([value(SETPOINT, 32.0, at_ms=8, quality=Quality.BAD)])
    (data,) = edge.changes(now_ms=20)
    (metric,) = read(data).metrics
    assert (metric.name, metric.alias, metric.value, metric.timestamp_ms) == (
        None,
        edge.alias_of(SETPOINT),
        32.0,
        8,
    )
    assert by_key(metric.properties) == {"Quality": 0}
    assert list(edge.changes(now_ms=21)) == []


def test_values_within_a_message_are_in_the_order_of_time() -> None:
    """SPB-1: metrics that are not historical keep their chronological order."""
    edge = born()
    edge.take([value(SETPOINT, 1.0, at_ms=9), value("/north/s1/p1/mode", 1, at_ms=4)])
    (data,) = edge.changes(now_ms=20)
    assert [each.timestamp_ms for each in read(data).metrics] == [4, 9]


def test_the_sequence_runs_to_255_and_begins_anew() -> None:
    """SPB-1: node and devices share it."""
    edge = born()
    first = len(said(edge.births(now_ms=1)))
    seen = []
    for step in range(300):
        edge.take(
            [value(SETPOINT if step % 2 else STOP, bool(step % 4 < 2) if step % 2 == 0 else float(step))]
        )
        seen += [seq for _, seq in said(edge.changes(now_ms=step))]
    assert seen == [(first + step) % 256 for step in range(300)]


def test_a_rebirth_begins_anew_with_the_same_death() -> None:
    """SPB-1: the whole sequence again, seq 0, the same bdSeq; what was due is in the births."""
    edge = born()
    edge.take([value(SETPOINT, 41.0), value(STOP, True)])
    births = list(edge.births(now_ms=5))
    assert said(births)[0] == ("NBIRTH", 0)
    assert ("bdSeq", 3) in [(each.name, each.value) for each in read(births[0]).metrics]
    assert list(edge.changes(now_ms=6)) == []


def test_a_pump_that_goes_dies_and_one_that_comes_is_born_and_nobody_else_notices() -> None:
    """SPB-1: DDEATH and DBIRTH of that device only; the aliases of the others stay."""
    edge = born()
    before = edge.alias_of("/north/s1/p2/setpoint")
    edge.configure(definitions(sparkplug_points(site_without("p1"))))
    assert [name for name, _ in said(edge.changes(now_ms=20))] == ["DDEATH s1.p1"]
    edge.configure(definitions(sparkplug_points(north())))
    assert [name for name, _ in said(edge.changes(now_ms=21))] == ["DBIRTH s1.p1"]
    assert edge.alias_of("/north/s1/p2/setpoint") == before


def test_a_pump_that_went_and_came_between_two_messages_is_born_again() -> None:
    """SPB-1: a host that missed its death must not take its new values for the old ones'."""
    edge = born(value(SETPOINT, 30.0))
    edge.configure(definitions(sparkplug_points(site_without("p1"))))
    edge.configure(definitions(sparkplug_points(north())))
    names = [name for name, _ in said(edge.changes(now_ms=20))]
    assert names[-1] == "DBIRTH s1.p1"
    assert set(names) <= {"DDEATH s1.p1", "DBIRTH s1.p1"}


def test_new_limits_are_a_new_birth_of_that_pump() -> None:
    """SPB-1: its engineering range is part of its birth."""
    site = north()
    first, *others = site.stations
    pump = first.pumps[0]
    limits = SafetyLimits(version=2, hard_min_speed_hz=20.0, hard_max_speed_hz=48.0, max_rate_hz_per_s=1.0)
    changed = msgspec.structs.replace(pump, limits=limits)
    stations = (msgspec.structs.replace(first, pumps=(changed, *first.pumps[1:])), *others)
    edge = born()
    edge.configure(definitions(sparkplug_points(msgspec.structs.replace(site, stations=stations))))
    assert [name for name, _ in said(edge.changes(now_ms=20))] == [
        f"DBIRTH {first.station_id}.{pump.pump_id}"
    ]


def test_history_is_marked_and_leaves_out_what_is_gone() -> None:
    """SPB-1: is_historical on each metric, its own time, a number of its own per message; gone pumps are left out."""
    edge = born()
    kept = [value(SETPOINT, 30.0, at_ms=1), value(SETPOINT, 31.0, at_ms=2), value("/north/gone/x", 1.0),
            value(STOP, True, at_ms=3)]  # fmt: skip
    messages = list(edge.history(kept, now_ms=50))
    assert [name for name, _ in said(messages)] == ["DDATA s1.p1", "NDATA"]
    told = [metric for message in messages for metric in read(message).metrics]
    assert [(each.value, each.timestamp_ms, each.is_historical) for each in told] == [
        (30.0, 1, True), (31.0, 2, True), (True, 3, True),
    ]  # fmt: skip
    assert edge.held(SETPOINT) is None, "history is no present value"


def test_a_device_that_goes_while_births_are_being_sent_is_not_born() -> None:
    """SPB-1: the plant may change between two messages of one birth sequence."""
    edge = EdgeNode(Node("calejo", "north"))
    edge.configure(definitions(sparkplug_points(north())))
    edge.connect(0, now_ms=1)
    births = edge.births(now_ms=2)
    first = list(islice(births, 2))
    assert "s1.p1" not in first[1].topic
    edge.configure(definitions(sparkplug_points(site_without("p1"))))
    assert not [each for each in births if each.topic.endswith("s1.p1")]
    assert list(edge.changes(now_ms=3)) == []


def test_every_answer_is_a_message_of_its_own() -> None:
    """SPB-1: two answers between two messages: a host hears both, whole and in order; a birth shows the last."""
    edge = born()

    def answer(number: int, text: str) -> list[Sample]:
        return [value("s1.p1:command_id", number), Sample("s1.p1:command_result", text, Quality.GOOD, number)]

    edge.take([value(SETPOINT, 30.0)])
    edge.tell(answer(1, "accepted"))
    edge.tell(answer(2, "accepted"))
    sent = list(edge.changes(now_ms=20))
    assert [name for name, _ in said(sent)] == ["DDATA s1.p1"] * 3
    assert [[each.value for each in read(message).metrics] for message in sent] == [
        [1, "accepted"], [2, "accepted"], [30.0],
    ]  # fmt: skip
    assert list(edge.changes(now_ms=21)) == []
    edge.disconnected()
    edge.tell(answer(3, "rejected"))
    edge.connect(4, now_ms=30)
    (birth,) = [each for each in edge.births(now_ms=31) if each.topic.endswith("DBIRTH/north/s1.p1")]
    assert {each.name: each.value for each in read(birth).metrics}["command_id"] == 3
    assert list(edge.changes(now_ms=32)) == []


def test_answers_that_wait_are_bounded() -> None:
    """SPB-1: a host in a loop fills nothing."""
    edge = born()
    for number in range(1_000):
        edge.tell([value("s1.p1:command_id", number)])
    ids = [read(message).metrics[0].value for message in edge.changes(now_ms=20)]
    assert ids == list(range(1_000 - TOLD_MAX, 1_000))


def test_no_history_of_a_device_that_is_to_be_born_first() -> None:
    """SPB-1: its aliases mean nothing before its birth; whoever hands in sees another generation."""
    edge = born()
    before = edge.generation
    due = [edge.births_due]
    site = north()
    first, *others = site.stations
    limits = SafetyLimits(version=2, hard_min_speed_hz=20.0, hard_max_speed_hz=48.0, max_rate_hz_per_s=1.0)
    changed = msgspec.structs.replace(first.pumps[0], limits=limits)
    stations = (msgspec.structs.replace(first, pumps=(changed, *first.pumps[1:])), *others)
    edge.configure(definitions(sparkplug_points(msgspec.structs.replace(site, stations=stations))))
    due.append(edge.births_due)
    assert edge.generation > before
    assert [name for name, _ in said(edge.history([value(SETPOINT, 1.0), value(STOP, True)], now_ms=20))] == [
        "NDATA"
    ]
    list(edge.changes(now_ms=21))
    assert [*due, edge.births_due] == [False, True, False]
    assert [name for name, _ in said(edge.history([value(SETPOINT, 1.0)], now_ms=22))] == ["DDATA s1.p1"]
