"""An edge node and its broker, whatever happens to either: kills, restarts, stalls, TLS, hostile messages."""

from __future__ import annotations

import asyncio
import datetime as dt
import ipaddress
import itertools
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from actors.vocabulary import Quality, SafetyLimits, WriteRefusal
from protocols.sparkplug.edge import Sample
from protocols.sparkplug.schema import DataType, Metric, Payload, encode
from tests.services import Mosquitto
from tests.unit.protocols.plants import north
from tests.wire.sparkplug.served import PUMP, Listener, Served, listener, now_ms, served, until

pytestmark = [pytest.mark.wire, pytest.mark.services]

ROOT = Path(__file__).resolve().parents[3]
PUMP_COMMANDS = "spBv1.0/calejo/DCMD/north/s1.p1"
STOP = ("emergency_stop", DataType.BOOLEAN, True)

CHILD = """
import asyncio, sys
from pathlib import Path
from tests.wire.sparkplug.served import Served

async def serve():
    node = Served(Path(sys.argv[1]), int(sys.argv[2]), keepalive_s=2)
    await node.open()
    await node.born()
    node.show({"/north/s1/p1/setpoint": 33.0, "/north/s1/p1/remote_enabled": True})
    print("born", flush=True)
    await asyncio.Event().wait()

asyncio.run(serve())
"""


@contextmanager
def child(folder: Path, port: int) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(folder), str(port)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait(10)
        assert process.stdout is not None
        process.stdout.close()


def bd_seqs(host: Listener, verb: str) -> list[object]:
    return [
        metric.value for each in host.of(verb) for metric in each.payload.metrics if metric.name == "bdSeq"
    ]


@pytest.mark.chaos
def test_a_killed_node_dies_for_everybody_and_is_born_again(tmp_path: Path, mosquitto: Mosquitto) -> None:
    """SPB-1, SUP-8: SIGKILL: the will within a second with the birth's bdSeq, then a birth with the next one."""

    async def story() -> None:
        async with listener(mosquitto.port) as host:
            for life in range(3):
                with child(tmp_path, mosquitto.port) as process:
                    await until(lambda: host.last("s1.p1", "setpoint") == 33.0, what="values")
                    process.kill()
                    killed_s = time.monotonic()
                    await until(lambda life=life: len(host.of("NDEATH")) == life + 1)  # type: ignore[misc]
                    assert host.of("NDEATH")[-1].at_s - killed_s < 1.0
                host._names.clear()
                host.heard = [each for each in host.heard if each.verb in {"NBIRTH", "NDEATH"}]
            assert bd_seqs(host, "NBIRTH") == bd_seqs(host, "NDEATH") == [0, 1, 2]

    asyncio.run(story())


@pytest.mark.chaos
def test_a_frozen_node_dies_after_its_keepalive(tmp_path: Path, mosquitto: Mosquitto) -> None:
    """SPB-1, SUP-8: SIGSTOP: the broker tells after one and a half keep-alive times (here 2 s) at the latest."""

    async def story() -> None:
        async with listener(mosquitto.port) as host:
            with child(tmp_path, mosquitto.port) as process:
                await until(lambda: host.last("s1.p1", "setpoint") == 33.0, what="values")
                process.send_signal(signal.SIGSTOP)
                await until(lambda: host.of("NDEATH"), within_s=15.0)
            assert bd_seqs(host, "NDEATH") == [0]

    asyncio.run(story())


def test_a_broker_that_restarts_gets_what_it_missed(tmp_path: Path, mosquitto: Mosquitto) -> None:
    """SPB-1: values of the time without a broker come as historical, in order, once, after the births."""

    async def story() -> None:
        async with served(tmp_path, mosquitto.port) as node:
            await node.born()
            node.show({f"{PUMP}/setpoint": 30.0, f"{PUMP}/heartbeat": 1})
            # The broker's word that it has them, so that nothing is uncertain.
            await until(lambda: node.endpoint._keeper.unconfirmed == 0)
            mosquitto.kill()
            await until(lambda: not node.endpoint.bound, what="the loss")
            for step in range(1, 6):
                node.show({f"{PUMP}/setpoint": 30.0 + step, f"{PUMP}/heartbeat": step})
            await until(lambda: node.endpoint.link.backfill_waiting == 5, what="the backlog on disk")
            mosquitto.start()
            async with listener(mosquitto.port) as host:
                await node.born(2)
                history = [31.0, 32.0, 33.0, 34.0, 35.0]
                await until(lambda: host.values("s1.p1", "setpoint", historical=True) == history)
                assert host.values("s1.p1", "heartbeat", historical=True) == [], "no proof of life is kept"
                node.show({f"{PUMP}/setpoint": 36.0})
                await until(lambda: host.last("s1.p1", "setpoint") == 36.0, what="live values")
                await until(lambda: node.endpoint.link.backfill_waiting == 0)
                assert node.endpoint.link.backfill_lost == 0
                verbs = [each.verb for each in host.heard if each.verb != "NDEATH"]
                assert verbs[0] == "NBIRTH"

    asyncio.run(story())


def test_the_backlog_outlives_the_process(tmp_path: Path, mosquitto: Mosquitto) -> None:
    """SPB-1: the host is away, the node is stopped and started anew; the host then gets both lives' values."""

    async def story() -> None:
        async with listener(mosquitto.port) as host:
            for first in (1.0, 3.0):
                async with served(tmp_path, mosquitto.port, primary_host="scada") as node:
                    node.show({f"{PUMP}/setpoint": first})
                    node.show({f"{PUMP}/setpoint": first + 1.0})
                    await until(lambda: node.endpoint.link.connected)
                    assert not host.heard
            async with served(tmp_path, mosquitto.port, primary_host="scada") as node:
                await host.state(True, now_ms())
                await node.born()
                kept = [1.0, 2.0, 3.0, 4.0]
                await until(lambda: host.values("s1.p1", "setpoint", historical=True) == kept)

    asyncio.run(story())


def test_no_room_is_told_as_a_number(tmp_path: Path, mosquitto: Mosquitto) -> None:
    """SPB-1: the oldest values go, the newest stay, and hosts see how many are missing."""

    async def story() -> None:
        async with served(
            tmp_path, mosquitto.port, primary_host="scada", backfill_bytes_max=1_048_576
        ) as node:
            for step in range(60_000):
                node.show({f"{PUMP}/setpoint": step / 10})
            await until(lambda: node.endpoint.link.backfill_lost > 0, what="a loss")
            await until(
                lambda: node.endpoint.link.backfill_lost + node.endpoint.link.backfill_waiting == 60_000,
                what="every value is on disk or counted as lost",
            )
            lost = node.endpoint.link.backfill_lost
            async with listener(mosquitto.port) as host:
                await host.state(True, now_ms())
                await until(lambda: host.last("", "backfill_lost") == lost)
                assert any(event == "backfill_lost" for event, _ in node.news)

    asyncio.run(story())


@pytest.mark.chaos
def test_a_broker_that_stalls_is_left_and_found_again(tmp_path: Path, mosquitto: Mosquitto) -> None:
    """SPB-1: it takes packets but answers nothing: noticed within seconds, values kept, none missing afterwards."""

    async def story() -> None:
        async with served(tmp_path, mosquitto.port, keepalive_s=2) as node:
            await node.born()
            assert mosquitto._process is not None
            mosquitto._process.send_signal(signal.SIGSTOP)
            try:
                steps = iter(range(1, 10_000))
                async with asyncio.timeout(30):
                    while node.endpoint.bound:
                        node.show({f"{PUMP}/setpoint": float(next(steps))})
                        await asyncio.sleep(0.05)
                last = float(next(steps))
                node.show({f"{PUMP}/setpoint": last})
            finally:
                mosquitto._process.send_signal(signal.SIGCONT)
            async with listener(mosquitto.port) as host:
                await node.born(2)
                await until(lambda: node.endpoint.link.backfill_waiting == 0 and host.heard)
                history = host.values("s1.p1", "setpoint", historical=True)
                present = host.values("s1.p1", "setpoint")
                assert last in {*history, *present}

    asyncio.run(story())


def test_commands_are_answered_by_metrics(tmp_path: Path, mosquitto: Mosquitto) -> None:
    """SPB-1: accepted, then applied when the wire shows it; clamped with the value; rejected with the reason."""

    async def story() -> None:
        async with (
            served(tmp_path, mosquitto.port, operator_commands=True) as node,
            listener(mosquitto.port) as host,
        ):
            await node.born()
            beats = iter(range(1, 100))

            def tick(hz: float, reason: int) -> None:
                node.show({f"{PUMP}/mode": 2, f"{PUMP}/setpoint": hz, f"{PUMP}/reason": reason,
                           f"{PUMP}/heartbeat": next(beats)})  # fmt: skip

            async def ask(hz: float, *, at_ms: int | None = None) -> None:
                await host.say(PUMP_COMMANDS, ("setpoint_request", DataType.DOUBLE, hz), at_ms=at_ms)

            async def answered(*wanted: str) -> None:
                names = ("command_metric", "command_result", "command_detail")
                await until(
                    lambda: tuple(host.last("s1.p1", name) for name in names) == wanted, what=str(wanted)
                )

            tick(30.0, 2)
            await ask(35.0)
            await answered("setpoint_request", "accepted", "")
            tick(31.0, 4)
            tick(35.0, 2)
            await answered("setpoint_request", "applied", "")
            await ask(60.0)
            await answered("setpoint_request", "accepted", "")
            tick(35.0, 2)
            tick(50.0, 3)
            await answered("setpoint_request", "clamped", "50.00 Hz: LIMITED")
            node.verdict = lambda write: WriteRefusal.INVALID_STATE
            await ask(35.0)
            await answered("setpoint_request", "rejected", "invalid_state")
            await ask(36.0, at_ms=now_ms() - 60_000)
            await until(lambda: "60.0 s old" in str(host.last("s1.p1", "command_detail")))
            assert [write.value for write in node.writes] == [35.0, 60.0]

    asyncio.run(story())


def test_a_retained_or_replayed_command_does_nothing(tmp_path: Path, mosquitto: Mosquitto) -> None:
    """SPB-1: a retained stop would be set again at each connection; the same bytes twice are one command."""

    async def story() -> None:
        async with listener(mosquitto.port) as host:
            await host.say(PUMP_COMMANDS, STOP, retain=True)
            async with served(tmp_path, mosquitto.port, operator_commands=True) as node:
                await node.born()
                await until(lambda: host.last("s1.p1", "command_detail") == "retained")
                assert node.writes == []
                sent_ms = now_ms()
                for _ in range(2):
                    await host.say(PUMP_COMMANDS, ("setpoint_request", DataType.DOUBLE, 30.0), at_ms=sent_ms)
                await until(lambda: "replayed" in str(host.last("s1.p1", "command_detail")))
                assert len(node.writes) == 1
                await host.say(PUMP_COMMANDS, STOP)
                await until(lambda: [write.value for write in node.writes] == [30.0, True])

    asyncio.run(story())


def hostile(dice: random.Random) -> bytes:
    """Return a message that nobody should send: garbage, damaged payloads, floods of metrics, deep nonsense."""
    good = encode(
        Payload(
            timestamp_ms=now_ms(),
            metrics=tuple(
                Metric(name=name, datatype=DataType.DOUBLE, value=dice.uniform(-1e308, 1e308))
                for name in (
                    "setpoint_request",
                    "setpoint",
                    "x" * dice.randrange(300),
                    "Node Control/Rebirth",
                )
            ),
        )
    )
    match dice.randrange(6):
        case 0:
            return dice.randbytes(dice.randrange(2_000))
        case 1:
            damaged = bytearray(good)
            for _ in range(dice.randrange(1, 8)):
                damaged[dice.randrange(len(damaged))] = dice.randrange(256)
            return bytes(damaged)
        case 2:
            return good[: dice.randrange(len(good))]
        case 3:
            return b"\x12\x00" * dice.randrange(8_000)
        case 4:
            return b"\x12\x04\x4a\x02\x12\x00" * dice.randrange(2_000) + b"\x4b" * dice.randrange(500)
        case _:
            return dice.randbytes(100_000)


def test_hostile_messages_do_not_reach_the_good_host(tmp_path: Path, mosquitto: Mosquitto) -> None:
    """SPB-1: five seconds of garbage on every command topic: stops are obeyed throughout, memory stays bounded."""
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    dice = random.Random(seed)

    def resident_mib() -> float:
        pages = int(Path(f"/proc/{os.getpid()}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 1_048_576

    async def story() -> None:
        async with (
            served(tmp_path, mosquitto.port, operator_commands=True) as node,
            listener(mosquitto.port) as host,
            listener(mosquitto.port) as bad,
        ):
            await node.born()
            topics = ["spBv1.0/calejo/NCMD/north", PUMP_COMMANDS, "spBv1.0/calejo/DCMD/north/" + "z" * 200,
                      "spBv1.0/STATE/scada"]  # fmt: skip
            before_mib, births = resident_mib(), node.endpoint.link.births
            until_s = time.monotonic() + 5.0
            stops = 0
            while time.monotonic() < until_s:
                for _ in range(40):
                    await bad.client.publish(dice.choice(topics), hostile(dice), qos=0)
                await host.say(PUMP_COMMANDS, STOP)
                stops += 1
                await until(
                    lambda stops=stops: (
                        sum(write.path.endswith("emergency_stop") for write in node.writes) >= stops
                    ),  # type: ignore[misc]
                    what=f"stop {stops}",
                )
            assert {write.path for write in node.writes} <= {
                f"{PUMP}/emergency_stop", f"{PUMP}/setpoint_request",
            }  # fmt: skip
            assert node.endpoint.link.births - births <= 7, "no more than one birth a second"
            assert node.endpoint.link.commands_refused > 0
            node.show({f"{PUMP}/setpoint": 44.0})
            await until(lambda: host.last("s1.p1", "setpoint") == 44.0, what="live values")
            assert resident_mib() - before_mib < 64

    asyncio.run(story())


# --------------------------------------------------------------------------- TLS and passwords


def authority(folder: Path, name: str) -> None:
    """Write a certificate for 127.0.0.1 that is its own authority."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    today = dt.datetime.fromtimestamp(time.time_ns() // 10**9, dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(today - dt.timedelta(days=1))
        .not_valid_after(today + dt.timedelta(days=2))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False
        )
        .sign(key, hashes.SHA256())
    )
    (folder / f"{name}.crt").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (folder / f"{name}.key").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )


# paho leaves the socket of a failed handshake to the garbage collector.
@pytest.mark.filterwarnings(
    "ignore:Exception ignored in. <ssl.SSLSocket:pytest.PytestUnraisableExceptionWarning"
)
def test_the_broker_is_verified_and_asks_for_a_password(tmp_path: Path, mosquitto_program: Path) -> None:
    """SEC-4, SEC-3, SPB-1: another authority's broker gets nothing; a wrong password is told; a new file is enough."""
    authority(tmp_path, "broker")
    authority(tmp_path, "other")
    password = tmp_path / "password"
    password.write_text("wrong\n")
    users = tmp_path / "users"
    subprocess.run(["mosquitto_passwd", "-b", "-c", users, "north", "right"], check=True, timeout=30)
    extra = (
        f"certfile {tmp_path}/broker.crt\nkeyfile {tmp_path}/broker.key\n"
        f"allow_anonymous false\npassword_file {users}\n"
    )

    async def story(port: int) -> None:
        common = {"tls": True, "user": "north", "password_file": str(password)}
        stranger = served(tmp_path / "a", port, ca_file=str(tmp_path / "other.crt"), **common)
        async with stranger as node:
            await until(lambda: "certificate" in node.endpoint.link.last_error.lower(), what="a refusal")
            assert node.endpoint.link.connects == 0
        async with served(tmp_path / "b", port, ca_file=str(tmp_path / "broker.crt"), **common) as node:
            await until(lambda: "uthor" in node.endpoint.link.last_error, what="a wrong password")
            assert "right" not in str(node.news)
            assert "wrong" not in str(node.news)
            password.write_text("right\n")
            await node.born()

    with Mosquitto(mosquitto_program, extra) as broker:
        asyncio.run(story(broker.port))


def test_a_broker_that_is_not_there_costs_nothing(tmp_path: Path) -> None:
    """SPB-1: opening returns at once, values are kept, closing returns at once, and nobody is told twice."""

    async def story() -> None:
        began_s = time.monotonic()
        async with served(tmp_path, 9) as node:
            node.show({f"{PUMP}/setpoint": 30.0})
            await until(lambda: node.endpoint.link.last_error, what="a reason")
            await until(lambda: node.endpoint.link.backfill_waiting == 1, what="a backlog")
            await asyncio.sleep(1.0)
            assert [event for event, _ in node.news] == ["link_lost"]
            assert (node.endpoint.bound, node.endpoint.clients) == ("", 0)
        assert time.monotonic() - began_s < 10.0

    asyncio.run(story())


def test_quality_and_time_are_the_points_own(tmp_path: Path, mosquitto: Mosquitto) -> None:
    """SPB-1, CTL-4: BAD is 0, UNCERTAIN is not called good, and a late value keeps its time."""

    async def story() -> None:
        async with served(tmp_path, mosquitto.port) as node, listener(mosquitto.port) as host:
            await node.born()
            node.show({f"{PUMP}/setpoint": 25.0}, quality=Quality.UNCERTAIN)
            await until(lambda: host.last("s1.p1", "setpoint") == 25.0)
            (metric,) = host.of("DDATA")[-1].payload.metrics
            assert [each.value for each in metric.properties] == [500]
            assert metric.timestamp_ms is not None
            assert abs(metric.timestamp_ms - now_ms()) < 10_000

    asyncio.run(story())


def test_a_second_node_of_the_same_name_takes_over(tmp_path: Path, mosquitto: Mosquitto) -> None:
    """SPB-1, SAF-11: a predecessor that hangs is cut off by its successor, whose birth comes after that one's death."""

    async def story() -> None:
        async with listener(mosquitto.port) as host:
            first = Served(tmp_path, mosquitto.port)
            await first.open()
            await first.born()
            for task in first.endpoint._tasks:
                task.cancel()
            second = Served(tmp_path, mosquitto.port)
            await second.open()
            await second.born()
            await until(lambda: len(host.of("NBIRTH")) == 2)
            verbs = [each.verb for each in host.of("NBIRTH", "NDEATH")]
            assert verbs[0] == "NBIRTH"
            assert verbs[-1] == "NBIRTH"
            assert "NDEATH" in verbs
            assert bd_seqs(host, "NBIRTH") == [0, 1]
            await second.endpoint.close()
            await first.endpoint.close()

    asyncio.run(story())


def test_a_flood_costs_neither_a_stop_nor_the_host_s_word(tmp_path: Path, mosquitto: Mosquitto) -> None:
    """SPB-1, EST-4: two thousand commands at once while we are busy, then a stop and STATE: both are taken."""

    async def story() -> None:
        async with (
            served(tmp_path, mosquitto.port, operator_commands=True, primary_host="scada") as node,
            listener(mosquitto.port) as host,
        ):
            began = now_ms()
            await host.state(True, began)
            await node.born()
            busy = asyncio.Event()
            verdict = node.endpoint._desk.take

            async def stuck(*given: object, **more: object) -> bool:
                await busy.wait()
                return await verdict(*given, **more)  # type: ignore[arg-type]

            node.endpoint._desk.take = stuck  # type: ignore[method-assign]
            for number in range(2_000):
                await host.say(
                    PUMP_COMMANDS, ("setpoint_request", DataType.DOUBLE, 30.0), at_ms=began + number
                )
            await host.say(PUMP_COMMANDS, STOP)
            await until(lambda: node.endpoint._dropped >= 900, what="the queue is full")
            busy.set()
            await until(
                lambda: f"{PUMP}/emergency_stop" in {each.path for each in node.writes}, what="a stop"
            )
            await until(lambda: node.endpoint.link.commands_refused > 0, what="commands above the rate")
            dropped = node.endpoint.link.incoming_dropped
            assert 900 <= dropped <= 1_000

            def told() -> int:
                return sum(int(detail.split()[0]) for event, detail in node.news if event == "flooded")

            await until(lambda: told() == dropped, what="every drop is told")
            await until(
                lambda: any("busy" in str(each) for each in host.values("s1.p1", "command_detail")),
                what="somebody is told that he asks too often",
            )
            await host.state(False, began)
            await until(lambda: not node.endpoint.bound, what="the host's end")

    asyncio.run(story())


def test_a_disk_that_refuses_takes_no_wire_away(tmp_path: Path, mosquitto: Mosquitto) -> None:
    """SPB-1: the numbers count on in memory, what was lost is told, and both are repaired when the disk is."""

    async def story() -> None:
        folder = tmp_path / "disk"
        folder.write_text("in the way: no folder can be made here")
        node = Served(folder, mosquitto.port)
        await node.open()
        try:
            async with listener(mosquitto.port) as host:
                await node.born()
                assert "disk" in node.endpoint.link.storage_fault
                node.show({f"{PUMP}/setpoint": 30.0})
                await until(lambda: host.last("s1.p1", "setpoint") == 30.0, what="live values")
            await until(lambda: node.endpoint._keeper.unconfirmed == 0)
            mosquitto.kill()
            await until(lambda: not node.endpoint.bound, what="the loss")
            node.show({f"{PUMP}/setpoint": 31.0})
            await until(lambda: any(event == "backfill_refused" for event, _ in node.news))
            folder.unlink()
            await until(lambda: node.endpoint.link.backfill_waiting == 1, what="the backlog on disk")
            mosquitto.start()
            async with listener(mosquitto.port) as host:
                await node.born(2)
                await until(lambda: host.values("s1.p1", "setpoint", historical=True) == [31.0])
            await until(lambda: node.endpoint.link.storage_fault == "", what="no fault any more")
            assert node.endpoint.link.backfill_lost == 0
            # Told by its cause: the number can neither be read nor written.
            refused = [detail for event, detail in node.news if event == "number_unsaved"]
            assert len(refused) == len(set(refused)) <= 2
        finally:
            await node.endpoint.close()

    asyncio.run(story())


def test_history_waits_for_births_and_for_the_host(tmp_path: Path, mosquitto: Mosquitto) -> None:
    """SPB-1: both may change while the disk is asked: what was not for them then comes later, and is not lost."""
    site = north()
    first, *others = site.stations
    limits = SafetyLimits(version=2, hard_min_speed_hz=20.0, hard_max_speed_hz=48.0, max_rate_hz_per_s=1.0)
    pump = msgspec.structs.replace(first.pumps[0], limits=limits)
    ranged = msgspec.structs.replace(first, pumps=(pump, *first.pumps[1:]))
    changed = msgspec.structs.replace(site, stations=(ranged, *others))

    async def story() -> None:
        async with (
            served(tmp_path, mosquitto.port, primary_host="scada") as node,
            listener(mosquitto.port) as host,
        ):
            node.show({f"{PUMP}/setpoint": 1.0})
            await until(lambda: node.endpoint.link.backfill_waiting == 1, what="a backlog")
            oldest, looks = node.endpoint._keeper.oldest, itertools.count()

            async def late() -> tuple[int, list[Sample]] | None:
                found = await oldest()
                look = next(looks)
                if look == 0:
                    await node.configure(changed)
                elif look == 1:
                    node.endpoint._host.online = False
                return found

            node.endpoint._keeper.oldest = late  # type: ignore[method-assign]
            await host.state(True, now_ms())
            await until(lambda: host.values("s1.p1", "setpoint", historical=True)[:1] == [1.0])
            verbs = [
                "history" if any(metric.is_historical for metric in each.payload.metrics) else each.verb
                for each in host.heard
                if each.device in {"", "s1.p1"}
            ]
            session, after = verbs[: verbs.index("NDEATH")], verbs[verbs.index("NDEATH") :]
            assert session.count("DBIRTH") == 2, "its ranges are others"
            assert "history" not in session, "nobody was there"
            assert after.index("NBIRTH") < after.index("DBIRTH") < after.index("history")

    asyncio.run(story())
