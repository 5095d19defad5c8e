"""The specification's own test ids on recorded bytes: one whole life of an edge node per MQTT version, rule by rule.

The life: connected while the primary host is away; the host comes (after an old message and another host's); values,
commands, a rebirth, a pump that goes and comes, 300 messages; a late offline message; the host goes; it comes back
and gets the backlog; the node stops in order. Each rule looks at what passed between node and broker.
"""

from __future__ import annotations

import asyncio
import re
import struct
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest

from actors.vocabulary import Quality
from protocols.sparkplug.schema import DataType, Metric, Payload, decode
from tests.services import Mosquitto
from tests.unit.protocols.sparkplug.test_names import site_without
from tests.wire.sparkplug.served import METRICS_MAX, PUMP, Packet, Served, listener, now_ms, recorder, until
from tests.wire.sparkplug.tck import RULES, WIRE

pytestmark = [pytest.mark.wire, pytest.mark.services]

NODE_TOPICS: Final = ("NBIRTH", "NDEATH", "NDATA")
DEVICE_TOPICS: Final = ("DBIRTH", "DDEATH", "DDATA")


# --------------------------------------------------------------------------- one life, recorded


class Said(msgspec.Struct, frozen=True, kw_only=True):
    """One PUBLISH of the node's."""

    connection: int
    place: int  # among all packets
    topic: str
    verb: str
    device: str
    qos: int
    retain: bool
    payload: Payload


class Will(msgspec.Struct, frozen=True, kw_only=True):
    """One CONNECT of the node's."""

    connection: int
    level: int
    clean: bool
    expiry_s: int | None
    has_will: bool
    topic: str
    qos: int
    retain: bool
    payload: Payload


class Life:
    """What was recorded, decoded; `marks` are places among the packets."""

    def __init__(self, version: int, packets: Sequence[Packet], marks: dict[str, int], open_max: int) -> None:
        self.version = version
        self.packets = packets
        self.marks = marks
        self.open_max = open_max
        self.connects = [_will(each) for each in packets if each.sent and each.kind == "CONNECT"]
        self.said = [_said(place, each, version) for place, each in enumerate(packets)
                     if each.sent and each.kind == "PUBLISH"]  # fmt: skip

    def of(self, *verbs: str) -> list[Said]:
        found = [each for each in self.said if each.verb in verbs]
        assert found, f"the life shows no {verbs}"
        return found

    def births(self) -> Iterator[list[Said]]:
        """Yield each birth sequence: an NBIRTH and what follows until the first that is no DBIRTH."""
        for place, said in enumerate(self.said):
            if said.verb == "NBIRTH":
                sequence = [said]
                for later in self.said[place + 1 :]:
                    if later.verb != "DBIRTH" or later.connection != said.connection:
                        break
                    sequence.append(later)
                yield sequence

    def numbered(self) -> list[Said]:
        return self.of("NBIRTH", "NDATA", "DBIRTH", "DDATA", "DDEATH")


def _text(body: bytes, at: int) -> tuple[bytes, int]:
    (length,) = struct.unpack_from(">H", body, at)
    return body[at + 2 : at + 2 + length], at + 2 + length


def _variable(body: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = body[at]
        at += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if not byte & 0x80:
            return value, at


def _will(packet: Packet) -> Will:
    body = packet.body
    name, at = _text(body, 0)
    assert name == b"MQTT"
    level, flags = body[at], body[at + 1]
    at += 4
    expiry_s = None
    if level == 5:
        length, at = _variable(body, at)
        properties, at = body[at : at + length], at + length
        expiry_s = 0
        if properties[:1] == b"\x11":
            (expiry_s,) = struct.unpack_from(">I", properties, 1)
    _, at = _text(body, at)
    assert flags & 0x04, "no will"
    if level == 5:
        length, at = _variable(body, at)
        at += length
    topic, at = _text(body, at)
    content, at = _text(body, at)
    return Will(
        connection=packet.connection, level=level, clean=bool(flags & 0x02), expiry_s=expiry_s,
        has_will=bool(flags & 0x04), topic=topic.decode(), qos=flags >> 3 & 3, retain=bool(flags & 0x20),
        payload=decode(content, metrics_max=METRICS_MAX),
    )  # fmt: skip


def _said(place: int, packet: Packet, version: int) -> Said:
    topic, at = _text(packet.body, 0)
    qos = packet.flags >> 1 & 3
    at += 2 if qos else 0
    if version == 5:
        length, at = _variable(packet.body, at)
        at += length
    parts = topic.decode().split("/")
    return Said(
        connection=packet.connection, place=place, topic=topic.decode(), verb=parts[2],
        device=parts[4] if len(parts) > 4 else "", qos=qos, retain=bool(packet.flags & 1),
        payload=decode(packet.body[at:], metrics_max=METRICS_MAX),
    )  # fmt: skip


async def _live(version: int, folder: Path, port: int) -> Life:
    marks: dict[str, int] = {}
    async with listener(port) as host, recorder(port) as (record, relay):
        await host.state(False, 100)
        node = Served(folder, relay, primary_host="scada", operator_commands=True, mqtt_version=version)

        def mark(name: str) -> None:
            marks[name] = len(record.packets)

        def count(verb: str) -> int:
            return len(host.of(verb))

        await node.open()
        node.show({f"{PUMP}/setpoint": 30.0, f"{PUMP}/remote_enabled": True, f"{PUMP}/mode": 2,
                   f"{PUMP}/heartbeat": 1, f"{PUMP}/reason": 2, "/north/failsafe": False})  # fmt: skip
        await until(lambda: any(each.kind == "SUBACK" for each in record.packets), what="subscriptions")
        await host.state(True, 50)
        await host.state(True, 200, host="another")
        node.show({f"{PUMP}/setpoint": 31.0})
        await until(lambda: sum(each.kind == "PUBLISH" and not each.sent for each in record.packets) >= 2)
        await asyncio.sleep(0.6)
        mark("host comes")
        await host.state(True, 100)
        await node.born()
        node.show({"/north/failsafe": True, f"{PUMP}/setpoint": 32.0})
        await until(lambda: host.last("s1.p1", "setpoint") == 32.0, what="data")
        node.show({f"{PUMP}/setpoint": 32.0}, quality=Quality.BAD)
        await host.say("spBv1.0/calejo/DCMD/north/s1.p1", ("setpoint_request", DataType.DOUBLE, 35.0))
        await until(lambda: host.last("s1.p1", "command_result") == "accepted", what="an answer")
        await asyncio.sleep(1.1)
        mark("rebirth asked")
        await host.say("spBv1.0/calejo/NCMD/north", ("Node Control/Rebirth", DataType.BOOLEAN, True))
        node.show({f"{PUMP}/setpoint": 33.0})
        await until(lambda: count("NBIRTH") == 2, what="a rebirth")
        mark("a pump goes")
        await node.configure(site_without("p1"))
        await until(lambda: count("DDEATH") == 1, what="a device's death")
        await node.configure(node.site)
        for step in range(300):
            node.show({f"{PUMP}/setpoint": step / 10})
            await until(lambda shown=step / 10: host.last("s1.p1", "setpoint") == shown)  # type: ignore[misc]
        births = count("NBIRTH")
        mark("a late offline")
        await host.state(False, 99)
        await asyncio.sleep(0.6)
        node.show({f"{PUMP}/setpoint": 40.0})
        await until(lambda: host.last("s1.p1", "setpoint") == 40.0)
        mark("host goes")
        await host.state(False, 101)
        await until(lambda: count("NDEATH") >= 1, what="the node's death")
        await until(lambda: record.connections == 2 and node.endpoint.link.connected, what="a new connection")
        node.show({f"{PUMP}/setpoint": 41.0})
        node.show({f"{PUMP}/setpoint": 42.0})
        await until(lambda: node.endpoint.link.backfill_waiting >= 2, what="a backlog")
        mark("host returns")
        await host.state(True, 300)
        await until(lambda: count("NBIRTH") == births + 1)
        await until(lambda: 41.0 in host.values("s1.p1", "setpoint", historical=True), what="the backlog")
        mark("the end")
        deaths = count("NDEATH")
        await node.endpoint.close()
        await until(lambda: count("NDEATH") > deaths)
        await until(lambda: record.open == 0, what="the end of the connection")
        return Life(version, list(record.packets), marks, record.open_max)


@pytest.fixture(scope="module")
def lives(mosquitto_program: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[int, Life]:
    """Both lives, lived once for all rules."""
    found = {}
    for version in (5, 3):
        with Mosquitto(mosquitto_program) as broker:
            folder = tmp_path_factory.mktemp(f"mqtt-{version}")
            found[version] = asyncio.run(_live(version, folder, broker.port))
    return found


# --------------------------------------------------------------------------- the rules

Check = Callable[[Life], None]
CHECKS: Final[dict[str, Check]] = {}


def rule(*names: str) -> Callable[[Check], Check]:
    """Register a check as the proof of these rules."""

    def register(check: Check) -> Check:
        for name in names:
            assert CHECKS.setdefault(f"tck-id-{name}", check) is check, f"{name} has two checks"
        return check

    return register


def named(said: Said) -> dict[str, Metric]:
    return {each.name or "": each for each in said.payload.metrics}


def is_utc_now(at_ms: int | None) -> bool:
    return at_ms is not None and abs(now_ms() - at_ms) < 600_000


@rule("topic-structure", "topic-structure-namespace-a", "intro-group-id-string", "intro-edge-node-id-string",
      "intro-device-id-string")  # fmt: skip
def topics_have_the_form(life: Life) -> None:
    for said in life.said:
        form = (
            r"spBv1\.0/calejo/(NBIRTH|NDEATH|NDATA)/north|spBv1\.0/calejo/(DBIRTH|DDEATH|DDATA)/north/[^/]+"
        )
        assert re.fullmatch(form, said.topic), said.topic


@rule("intro-group-id-chars", "intro-edge-node-id-chars", "intro-device-id-chars",
      "topic-structure-namespace-valid-group-id", "topic-structure-namespace-valid-edge-node-id",
      "topic-structure-namespace-valid-device-id")  # fmt: skip
def ids_hold_no_reserved_character(life: Life) -> None:
    for said in life.said:
        assert not set("+#\0") & set(said.topic)
        assert said.topic.count("/") == (4 if said.device else 3)


@rule("topic-structure-namespace-unique-device-id", "case-sensitivity-sparkplug-ids")
def devices_are_unique(life: Life) -> None:
    for sequence in life.births():
        devices = [each.device.lower() for each in sequence[1:]]
        assert len(set(devices)) == len(devices)


@rule("case-sensitivity-metric-names")
def metric_names_are_unique(life: Life) -> None:
    for said in life.of("NBIRTH", "DBIRTH"):
        names = [(each.name or "").lower() for each in said.payload.metrics]
        assert len(set(names)) == len(names)


@rule("topic-structure-namespace-device-id-associated-message-types")
def device_messages_name_the_device(life: Life) -> None:
    assert all(each.device for each in life.of(*DEVICE_TOPICS))


@rule("topic-structure-namespace-device-id-non-associated-message-types")
def node_messages_name_no_device(life: Life) -> None:
    assert not any(each.device for each in life.of(*NODE_TOPICS))


def _form(verb: str) -> Check:
    def check(life: Life) -> None:
        device = "/[a-z0-9_.-]+" if verb.startswith("D") else ""
        assert all(re.fullmatch(f"spBv1.0/calejo/{verb}/north{device}", each.topic) for each in life.of(verb))

    return check


rule("topics-nbirth-topic", "message-flow-edge-node-birth-publish-nbirth-topic")(_form("NBIRTH"))
rule("topics-ndata-topic")(_form("NDATA"))
rule("topics-ndeath-topic")(_form("NDEATH"))
rule("topics-dbirth-topic", "message-flow-device-birth-publish-dbirth-topic",
     "message-flow-device-birth-publish-dbirth-match-edge-node-topic")(_form("DBIRTH"))  # fmt: skip
rule("topics-ddata-topic")(_form("DDATA"))
rule("topics-ddeath-topic")(_form("DDEATH"))


def _qos_0(verb: str) -> Check:
    def check(life: Life) -> None:
        assert all(each.qos == 0 and not each.retain for each in life.of(verb))

    return check


rule("topics-nbirth-mqtt", "payloads-nbirth-qos", "payloads-nbirth-retain",
     "message-flow-edge-node-birth-publish-nbirth-qos",
     "message-flow-edge-node-birth-publish-nbirth-retained")(_qos_0("NBIRTH"))  # fmt: skip
rule("topics-ndata-mqtt", "payloads-ndata-qos", "payloads-ndata-retain")(_qos_0("NDATA"))
rule("topics-dbirth-mqtt", "payloads-dbirth-qos", "payloads-dbirth-retain",
     "message-flow-device-birth-publish-dbirth-qos",
     "message-flow-device-birth-publish-dbirth-retained")(_qos_0("DBIRTH"))  # fmt: skip
rule("topics-ddata-mqtt", "payloads-ddata-qos", "payloads-ddata-retain")(_qos_0("DDATA"))
rule("topics-ddeath-mqtt")(_qos_0("DDEATH"))


def _dated(verb: str) -> Check:
    def check(life: Life) -> None:
        assert all(is_utc_now(each.payload.timestamp_ms) for each in life.of(verb))

    return check


rule("topics-nbirth-timestamp", "payloads-nbirth-timestamp")(_dated("NBIRTH"))
rule("topics-ndata-timestamp", "payloads-ndata-timestamp")(_dated("NDATA"))
rule("topics-dbirth-timestamp", "payloads-dbirth-timestamp")(_dated("DBIRTH"))
rule("topics-ddata-timestamp", "payloads-ddata-timestamp")(_dated("DDATA"))
rule("payloads-ddeath-timestamp")(_dated("DDEATH"))


@rule("payloads-timestamp-in-UTC")
def payload_times_are_utc(life: Life) -> None:
    assert all(is_utc_now(each.payload.timestamp_ms) for each in life.said)


@rule(
    "payloads-name-birth-data-requirement",
    "payloads-metric-timestamp-in-UTC",
    "payloads-name-cmd-requirement",
)
def every_metric_has_its_time_in_utc(life: Life) -> None:
    for said in life.of("NBIRTH", "NDATA", "DBIRTH", "DDATA"):
        assert all(is_utc_now(each.timestamp_ms) for each in said.payload.metrics), said.topic


@rule("topics-nbirth-seq-num", "payloads-nbirth-seq", "payloads-sequence-num-req-nbirth",
      "message-flow-edge-node-birth-publish-nbirth-payload-seq")  # fmt: skip
def a_birth_begins_with_0(life: Life) -> None:
    assert {each.payload.seq for each in life.of("NBIRTH")} == {0}


@rule("payloads-sequence-num-always-included", "payloads-sequence-num-incrementing", "topics-ndata-seq-num",
      "payloads-ndata-seq", "payloads-ndata-seq-inc", "topics-dbirth-seq", "payloads-dbirth-seq",
      "payloads-dbirth-seq-inc", "message-flow-device-birth-publish-dbirth-payload-seq", "topics-ddata-seq-num",
      "payloads-ddata-seq", "payloads-ddata-seq-inc", "topics-ddeath-seq-num", "payloads-ddeath-seq",
      "payloads-ddeath-seq-inc", "payloads-ddeath-seq-number")  # fmt: skip
def the_numbers_have_no_gap(life: Life) -> None:
    assert len(life.numbered()) > 256, "long enough to begin anew"
    for before, after in pairwise(life.numbered()):
        assert after.payload.seq is not None
        expected = 0 if after.verb == "NBIRTH" else ((before.payload.seq or 0) + 1) % 256
        assert after.payload.seq == expected, (before.topic, after.topic)


@rule("topics-ndeath-seq", "payloads-ndeath-seq")
def a_death_has_no_number(life: Life) -> None:
    assert {each.payload.seq for each in life.of("NDEATH")} == {None}
    assert {each.payload.seq for each in life.connects} == {None}


@rule("topics-ndeath-payload")
def a_death_has_only_its_bd_seq(life: Life) -> None:
    payloads = [*(each.payload for each in life.of("NDEATH")), *(each.payload for each in life.connects)]
    for payload in payloads:
        assert [metric.name for metric in payload.metrics] == ["bdSeq"]


@rule("principles-birth-certificates-order", "payloads-dbirth-order", "payloads-ndata-order", "payloads-ddata-order",
      "message-flow-device-birth-publish-nbirth-wait")  # fmt: skip
def births_come_first_and_whole(life: Life) -> None:
    for connection in {each.connection for each in life.said}:
        first = next(each for each in life.said if each.connection == connection)
        assert first.verb in {"NBIRTH", "NDEATH"}
        assert connection != 0 or first.verb == "NBIRTH"
    devices = {"s1", "s1.p1", "s1.p2", "s2", "s2.p3"}
    assert [{each.device for each in sequence[1:]} for sequence in life.births()] == [devices] * 3


@rule("message-flow-edge-node-birth-publish-connect")
def a_session_is_there_before_the_birth(life: Life) -> None:
    for said in life.of("NBIRTH"):
        kinds = [each.kind for each in life.packets[: said.place] if each.connection == said.connection]
        assert kinds[:2] == ["CONNECT", "CONNACK"]


def _bd_seq(payload: Payload) -> Any:
    (metric,) = [each for each in payload.metrics if each.name == "bdSeq"]
    assert metric.datatype == DataType.INT64
    return metric.value


@rule("topics-nbirth-bdseq-included", "payloads-nbirth-bdseq", "topics-nbirth-bdseq-matching",
      "payloads-nbirth-bdseq-repeat", "payloads-ndeath-bdseq",
      "message-flow-edge-node-birth-publish-nbirth-payload-bdSeq",
      "operational-behavior-data-commands-rebirth-action-3")  # fmt: skip
def births_and_deaths_repeat_the_wills_number(life: Life) -> None:
    wills = {each.connection: _bd_seq(each.payload) for each in life.connects}
    for said in life.of("NBIRTH", "NDEATH"):
        assert _bd_seq(said.payload) == wills[said.connection]
    assert [each.connection for each in life.of("NBIRTH")] == [0, 0, 1], "a rebirth within the first session"


@rule("topics-nbirth-bdseq-increment", "message-flow-edge-node-birth-publish-will-message-payload-bdSeq")
def each_connection_has_the_next_number(life: Life) -> None:
    assert [_bd_seq(each.payload) for each in life.connects] == [0, 1]


@rule("message-flow-edge-node-birth-publish-will-message", "payloads-ndeath-will-message",
      "message-flow-edge-node-birth-publish-will-message-payload")  # fmt: skip
def every_connect_has_a_will(life: Life) -> None:
    assert len(life.connects) == 2
    assert all(each.has_will and each.payload.metrics for each in life.connects)


@rule("message-flow-edge-node-birth-publish-will-message-topic")
def the_will_is_our_death(life: Life) -> None:
    assert {each.topic for each in life.connects} == {"spBv1.0/calejo/NDEATH/north"}


@rule("message-flow-edge-node-birth-publish-will-message-qos", "payloads-ndeath-will-message-qos")
def the_will_has_quality_1(life: Life) -> None:
    assert {each.qos for each in life.connects} == {1}


@rule(
    "message-flow-edge-node-birth-publish-will-message-will-retained", "payloads-ndeath-will-message-retain"
)
def the_will_is_not_retained(life: Life) -> None:
    assert {each.retain for each in life.connects} == {False}


@rule("principles-persistence-clean-session-311")
def a_session_of_3_1_1_begins_clean(life: Life) -> None:
    assert life.version == 5 or all(each.level == 4 and each.clean for each in life.connects)


@rule("principles-persistence-clean-session-50")
def a_session_of_5_begins_clean_and_ends_at_once(life: Life) -> None:
    assert life.version == 3 or all(
        each.level == 5 and each.clean and each.expiry_s == 0 for each in life.connects
    )


def _subscribed(topic: bytes) -> Check:
    def check(life: Life) -> None:
        for connection in (0, 1):
            ours = [(place, each) for place, each in enumerate(life.packets) if each.connection == connection]
            (place, packet), *_ = [(at, each) for at, each in ours if each.kind == "SUBSCRIBE"]
            wanted = struct.pack(">H", len(topic)) + topic
            at = packet.body.index(wanted) + len(wanted)
            assert packet.body[at] & 3 == 1
            births = [each.place for each in life.of("NBIRTH") if each.connection == connection]
            granted = next(at for at, each in ours if each.kind == "SUBACK")
            assert place < granted < min(births)

    return check


rule("message-flow-edge-node-ncmd-subscribe")(_subscribed(b"spBv1.0/calejo/NCMD/north"))
rule("message-flow-device-dcmd-subscribe")(_subscribed(b"spBv1.0/calejo/DCMD/north/+"))


@rule("message-flow-edge-node-birth-publish-phid-wait", "message-flow-edge-node-birth-publish-phid-wait-id",
      "message-flow-edge-node-birth-publish-phid-wait-online",
      "message-flow-edge-node-birth-publish-phid-wait-timestamp",
      "operational-behavior-edge-node-birth-sequence-wait")  # fmt: skip
def nothing_is_said_before_the_host_is_there(life: Life) -> None:
    assert not [each for each in life.said if each.place < life.marks["host comes"]]
    assert not [
        each for each in life.said if each.connection == 1 and each.place < life.marks["host returns"]
    ]


@rule(
    "message-flow-edge-node-birth-publish-phid-offline",
    "operational-behavior-edge-node-termination-host-offline",
)
def the_hosts_end_is_the_sessions_end(life: Life) -> None:
    after = [each for each in life.said if each.connection == 0 and each.place >= life.marks["host goes"]]
    assert [each.verb for each in after][-1] == "NDEATH"
    last = [each.kind for each in life.packets if each.connection == 0 and each.sent][-1]
    assert last == "DISCONNECT"
    assert life.connects[1].connection == 1


@rule("operational-behavior-edge-node-termination-host-offline-timestamp")
def a_late_offline_is_not_the_end(life: Life) -> None:
    between = life.packets[life.marks["a late offline"] : life.marks["host goes"]]
    assert any(each.kind == "PUBLISH" and not each.sent for each in between), "it was delivered"
    assert not [each for each in between if each.kind in {"CONNECT", "DISCONNECT"}]


@rule("operational-behavior-primary-application-state-with-multiple-servers-single-server")
def one_connection_at_a_time(life: Life) -> None:
    assert life.open_max == 1


@rule(
    "operational-behavior-edge-node-intentional-disconnect-ndeath", "payloads-ndeath-will-message-publisher"
)
def whoever_leaves_says_so(life: Life) -> None:
    for connection in (0, 1):
        ours = [each for each in life.said if each.connection == connection]
        assert ours[-1].verb == "NDEATH"
        end = [each.kind for each in life.packets if each.connection == connection and each.sent]
        assert end[-1] == "DISCONNECT"


@rule("payloads-ndeath-will-message-publisher-disconnect-mqtt311")
def with_3_1_1_the_death_is_published_before_the_end(life: Life) -> None:
    if life.version == 3:
        whoever_leaves_says_so(life)


@rule("payloads-ndeath-will-message-publisher-disconnect-mqtt50")
def with_5_the_end_leaves_the_will(life: Life) -> None:
    ends = [each for each in life.packets if each.sent and each.kind == "DISCONNECT"]
    assert len(ends) == 2
    if life.version == 5:
        assert [each.body[:1] for each in ends] == [b"\x04", b"\x04"]


@rule("operational-behavior-device-ddeath")
def a_device_that_goes_dies(life: Life) -> None:
    (death,) = life.of("DDEATH")
    assert death.device == "s1.p1"
    births = [each for each in life.of("DBIRTH") if each.device == "s1.p1" and each.place > death.place]
    assert births, "and is born when it comes back"


@rule("topics-nbirth-rebirth-metric", "payloads-nbirth-rebirth-req",
      "operational-behavior-data-commands-rebirth-name", "operational-behavior-data-commands-rebirth-datatype",
      "operational-behavior-data-commands-rebirth-value",
      "operational-behavior-data-commands-rebirth-name-aliases")  # fmt: skip
def every_birth_offers_a_rebirth(life: Life) -> None:
    for said in life.of("NBIRTH"):
        metric = named(said)["Node Control/Rebirth"]
        assert (metric.datatype, metric.value, metric.alias) == (DataType.BOOLEAN, False, None)


@rule(
    "operational-behavior-data-commands-rebirth-action-1",
    "operational-behavior-data-commands-rebirth-action-2",
)
def a_rebirth_comes_before_more_data(life: Life) -> None:
    asked = next(
        place for place, each in enumerate(life.packets)
        if place >= life.marks["rebirth asked"] and not each.sent and b"Node Control/Rebirth" in each.body
    )  # fmt: skip
    after = [each.verb for each in life.said if each.place > asked]
    # What the node had sent when the command reached it crosses it on the wire: at most one message a device.
    crossed = after.index("NBIRTH")
    assert after[:crossed] == ["DDATA"] * crossed
    assert crossed <= 5
    assert after[crossed + 1 : crossed + 6] == ["DBIRTH"] * 5


@rule("topics-nbirth-metrics", "topics-dbirth-metrics", "payloads-metric-datatype-req",
      "operational-behavior-data-publish-nbirth-values", "operational-behavior-data-publish-dbirth-values")  # fmt: skip
def births_tell_name_type_and_value(life: Life) -> None:
    for said in life.of("NBIRTH", "DBIRTH"):
        for metric in said.payload.metrics:
            assert metric.name
            assert metric.datatype
    pumps = [each for each in life.of("DBIRTH") if each.device == "s1.p1"]
    assert named(pumps[0])["setpoint"].value == 31.0
    assert named(pumps[0])["actual_speed"].value is None
    assert b"\x38\x01" in life.packets[pumps[0].place].body, "is_null is set for what has no value"


@rule("topics-nbirth-metric-reqs", "topics-dbirth-metric-reqs", "operational-behavior-data-publish-nbirth",
      "operational-behavior-data-publish-dbirth", "topics-ndata-payload", "topics-ddata-payload")  # fmt: skip
def no_data_without_a_birth(life: Life) -> None:
    known: dict[str, set[int | None]] = {}
    for said in life.numbered():
        if said.verb == "NBIRTH":
            known = {}
        if said.verb.endswith("BIRTH"):
            known[said.device] = {each.alias for each in said.payload.metrics}
        else:
            assert {each.alias for each in said.payload.metrics} <= known[said.device]
            assert said.payload.metrics or said.verb == "DDEATH"


@rule("principles-rbe-recommended", "operational-behavior-data-publish-nbirth-change",
      "operational-behavior-data-publish-dbirth-change")  # fmt: skip
def data_is_sent_when_something_changes(life: Life) -> None:
    held: dict[tuple[str, int | None], object] = {}
    for said in life.numbered():
        if said.verb == "NBIRTH":
            held = {}
        for metric in said.payload.metrics:
            if metric.is_historical or said.verb == "DDEATH":
                continue
            value = (metric.value, metric.properties[:1])
            assert said.verb.endswith("BIRTH") or held.get((said.device, metric.alias)) != value, said.topic
            held[said.device, metric.alias] = value


@rule("operational-behavior-data-publish-nbirth-order", "operational-behavior-data-publish-dbirth-order")
def values_are_in_the_order_of_time(life: Life) -> None:
    for said in life.of("NDATA", "DDATA"):
        times = [each.timestamp_ms or 0 for each in said.payload.metrics if not each.is_historical]
        assert times == sorted(times)


@rule("payloads-alias-uniqueness")
def aliases_are_unique_in_the_whole_node(life: Life) -> None:
    for sequence in life.births():
        aliases = [each.alias for said in sequence for each in said.payload.metrics if each.alias is not None]
        assert len(set(aliases)) == len(aliases)


@rule("payloads-name-requirement", "payloads-alias-birth-requirement")
def births_have_names_and_aliases(life: Life) -> None:
    for said in life.of("NBIRTH", "DBIRTH"):
        assert all(each.name for each in said.payload.metrics)
        without = {each.name for each in said.payload.metrics if each.alias is None}
        assert without <= {"Node Control/Rebirth"}


@rule("payloads-alias-data-cmd-requirement", "payloads-metric-datatype-not-req")
def data_has_aliases_and_neither_names_nor_types(life: Life) -> None:
    for said in life.of("NDATA", "DDATA"):
        for metric in said.payload.metrics:
            assert (metric.name, metric.datatype) == (None, None)
            assert metric.alias is not None


@rule("payloads-metric-datatype-value-type", "payloads-metric-datatype-value")
def types_are_the_specifications(life: Life) -> None:
    for said in life.of("NBIRTH", "DBIRTH"):
        assert {each.datatype for each in said.payload.metrics} <= set(range(1, 15))


def _message(content: bytes, number: int) -> Iterator[bytes]:
    """Yield the submessages of a field, read by hand."""
    at = 0
    while at < len(content):
        key, at = _variable(content, at)
        match key & 7:
            case 0:
                _, at = _variable(content, at)
            case 1:
                at += 8
            case 2:
                length, at = _variable(content, at)
                if key >> 3 == number:
                    yield content[at : at + length]
                at += length
            case 5:
                at += 4
            case other:
                raise AssertionError(f"wire type {other}")


def _property_sets(life: Life) -> Iterator[tuple[Said, bytes]]:
    for said in life.of("NBIRTH", "NDATA", "DBIRTH", "DDATA"):
        body = life.packets[said.place].body
        _, at = _text(body, 0)
        if life.version == 5:
            length, at = _variable(body, at)
            at += length
        for metric in _message(body[at:], 2):
            for properties in _message(metric, 9):
                yield said, properties


@rule("payloads-propertyset-keys-array-size", "payloads-propertyset-values-array-size")
def property_sets_have_as_many_keys_as_values(life: Life) -> None:
    sizes = [(len(list(_message(each, 1))), len(list(_message(each, 2)))) for _, each in _property_sets(life)]
    assert sizes
    assert all(keys == values > 0 for keys, values in sizes)


@rule("payloads-metric-propertyvalue-type-type", "payloads-metric-propertyvalue-type-value",
      "payloads-metric-propertyvalue-type-req")  # fmt: skip
def property_values_have_a_type(life: Life) -> None:
    for _, each in _property_sets(life):
        for value in _message(each, 2):
            key, at = _variable(value, 0)
            kind, _ = _variable(value, at)
            assert key == 1 << 3
            assert kind in range(1, 15)


@rule("payloads-propertyset-quality-value-type", "payloads-propertyset-quality-value-value")
def qualities_are_the_specifications(life: Life) -> None:
    seen = set()
    for said in life.of("NBIRTH", "NDATA", "DBIRTH", "DDATA"):
        for metric in said.payload.metrics:
            for each in metric.properties:
                if each.key == "Quality":
                    assert each.type is DataType.INT32
                    seen.add(each.value)
    assert seen == {0, 192}


@rule(
    "message-flow-edge-node-birth-publish-nbirth-payload", "message-flow-device-birth-publish-dbirth-payload"
)
def births_are_protocol_buffers(life: Life) -> None:
    assert all(each.payload.metrics for each in life.of("NBIRTH", "DBIRTH"))


# --------------------------------------------------------------------------- the tests


@pytest.mark.parametrize("version", [5, 3], ids=["mqtt5", "mqtt311"])
@pytest.mark.parametrize("name", sorted(CHECKS))
def test_rule(lives: dict[int, Life], name: str, version: int) -> None:
    """SPB-1: a rule of the Sparkplug specification holds on the wire."""
    CHECKS[name](lives[version])


def test_every_rule_has_its_place_in_the_table() -> None:
    """SPB-1: what is to be proved on the wire is, nothing else is claimed, and every other rule has its reason."""
    assert {name for name, how in RULES.items() if how == WIRE} == set(CHECKS)
    assert len(RULES) == 299
    assert all(how == WIRE or how.startswith("not ") for how in RULES.values())
