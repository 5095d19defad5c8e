"""`python -m ops.bench.seen`: how soon a changed setpoint is seen by a client of each protocol, against a run.

It commands MANUAL at one pump, each time a hundredth of a hertz more, so that every value is told from the last, and
watches that setpoint by all protocols at once: Modbus (a look each millisecond), OPC UA (a subscription), REST
(server-sent events) and, with `--mqtt`, Sparkplug at the run's broker. The time is from the source timestamp of the
value on OPC UA, which is its publication, to when the client has it; all on one machine and one clock. AUTO comes
back at the end. Only for a demo or a plant at rest: it moves a pump.
"""

from __future__ import annotations

import argparse
import asyncio
import http.client
import io
import json
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import aiomqtt
import msgspec

from actors.publisher.latency import summary_of
from actors.vocabulary import CalejoError, InvalidValueError
from ops.cli.client import call, credentials, running
from ops.cli.exits import DONE, FAILED, ExitError
from ops.cli.wire import endpoints
from ops.kit.clients import ModbusWire, OpcUaWire
from ops.rundir import RunFile
from protocols.sparkplug.names import REBIRTH
from protocols.sparkplug.schema import DataType, Metric, Payload, decode, encode

STEP_HZ: Final = 0.01
MODBUS_LOOK_S: Final = 0.001
OPCUA_PUBLISHING_MS: Final = 50.0
_EACH_S: Final = 1.17  # no multiple of the control period: commands come at every phase of it
_LAST_S: Final = 5.0
_RAMP_S: Final = 90.0
_METRICS_MAX: Final = 100_000
_NODE_AT: Final = 3  # spBv1.0/group/verb/node/device


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """One protocol: how many of the changes its client saw, and how long after their source timestamps."""

    protocol: str
    seen: int
    p50_ms: float
    p99_ms: float
    greatest_ms: float


class Watched(msgspec.Struct, frozen=True, kw_only=True):
    """A pump's setpoint and where the wires have it."""

    site_id: str
    station_id: str
    pump_id: str
    node_id: str
    unit_id: int
    address: int
    scale: float


class Watch:
    """Who saw which value first, when (ns since 1970, this machine's clock); and each value's source time."""

    def __init__(self, start_hz: float) -> None:
        self.at_start = asyncio.Event()
        self._start_hz = start_hz
        self.seen_ns: dict[str, dict[float, int]] = {}
        self.source_ns: dict[float, int] = {}
        self._lock = threading.Lock()

    def saw(self, protocol: str, value_hz: float, *, at_ns: int) -> None:
        """Note a value; only its first sight counts."""
        with self._lock:
            self.seen_ns.setdefault(protocol, {}).setdefault(round(value_hz, 2), at_ns)

    def born(self, value_hz: float, *, source_ns: int) -> None:
        """Note when a value was decided; for the event loop's own thread."""
        with self._lock:
            self.source_ns.setdefault(round(value_hz, 2), source_ns)
        if round(value_hz, 2) == self._start_hz:
            self.at_start.set()

    def rows(self, values_hz: Sequence[float]) -> list[Seen]:
        """Return a row per protocol over the values that were commanded."""
        found = []
        for protocol, seen in sorted(self.seen_ns.items()):
            took = [
                seen[value] - self.source_ns[value]
                for value in values_hz
                if value in seen and value in self.source_ns
            ]
            summary = summary_of(took)
            if summary is not None:
                found.append(
                    Seen(
                        protocol=protocol,
                        seen=len(took),
                        p50_ms=summary.p50_ms,
                        p99_ms=summary.p99_ms,
                        greatest_ms=max(took) / 1e6,
                    )
                )
        return found


def table(rows: Sequence[Seen], *, changes: int) -> str:
    """Return the rows as they are printed."""
    lines = [f"{'client':<32}{'seen':>10}{'p50 ms':>10}{'p99 ms':>10}{'greatest':>10}"]
    lines += [
        f"{row.protocol:<32}{f'{row.seen} of {changes}':>10}{row.p50_ms:>10.1f}{row.p99_ms:>10.1f}"
        f"{row.greatest_ms:>10.1f}"
        for row in rows
    ]
    return "\n".join(lines)


# --------------------------------------------------------------------------- one client of each protocol


async def _by_modbus(watch: Watch, wire: ModbusWire, at: Watched, over: asyncio.Event) -> None:
    # Ended by a word and not by cancelling: a wait_for inside (Python 3.11) may lose a cancellation for its answer.
    while not over.is_set():
        (raw,) = await wire.cells(at.unit_id, "holding", at.address, 1)
        watch.saw("Modbus, a look each ms", raw * at.scale, at_ns=time.time_ns())
        await asyncio.sleep(MODBUS_LOOK_S)


class _Changes:
    """Takes what the OPC UA subscription brings."""

    def __init__(self, watch: Watch) -> None:
        self._watch = watch

    def datachange_notification(self, _: Any, value: float, data: Any) -> None:
        """Note a value and its source timestamp."""
        now_ns, source = time.time_ns(), data.monitored_item.Value.SourceTimestamp
        self._watch.saw(f"OPC UA, publishing {OPCUA_PUBLISHING_MS:g} ms", value, at_ns=now_ns)
        if source is not None:
            self._watch.born(value, source_ns=round(source.timestamp() * 1_000_000) * 1_000)


def _events(answer: io.BufferedIOBase) -> Iterator[tuple[str, dict[str, Any]]]:
    event = ""
    while line := answer.readline():
        text = line.decode().rstrip("\n")
        if text.startswith("event: "):
            event = text.removeprefix("event: ")
        elif text.startswith("data: "):
            yield event, json.loads(text.removeprefix("data: "))


def _by_stream(watch: Watch, answer: io.BufferedIOBase, pump_id: str) -> None:
    """Read server-sent events until the connection is closed."""
    with suppress(OSError, ValueError, AttributeError, http.client.HTTPException):  # closed under its reading
        for event, data in _events(answer):
            now_ns = time.time_ns()
            rows = data["topics"]["setpoints"] if event == "snapshot" else data.get("changed", ())
            for row in rows if event in ("snapshot", "setpoints") else ():
                for published in row["published"] if row["pump_id"] == pump_id else ():
                    watch.saw("REST, server-sent events", published["setpoint_hz"], at_ns=now_ns)


async def _by_sparkplug(watch: Watch, client: aiomqtt.Client, device: str) -> None:
    names: dict[int, str] = {}
    asked = False
    async for message in client.messages:
        now_ns, parts = time.time_ns(), message.topic.value.split("/")
        if not asked and len(parts) > _NODE_AT and parts[2] in ("NDATA", "DDATA"):
            # Whoever comes late asks for births: they alone say which metric an alias is.
            asked = True
            again = Metric(name=REBIRTH, datatype=DataType.BOOLEAN, value=True)
            sent = Payload(timestamp_ms=now_ns // 1_000_000, metrics=(again,))
            await client.publish(f"spBv1.0/{parts[1]}/NCMD/{parts[_NODE_AT]}", encode(sent), qos=0)
        if parts[-1] != device or not isinstance(message.payload, bytes):
            continue
        with suppress(InvalidValueError):
            for metric in decode(message.payload, metrics_max=_METRICS_MAX).metrics:
                if metric.name and metric.alias:
                    names[metric.alias] = metric.name
                if (metric.name or names.get(metric.alias or 0)) == "setpoint" and metric.value is not None:
                    watch.saw("Sparkplug, at the broker", float(metric.value), at_ns=now_ns)


# --------------------------------------------------------------------------- all of them at once


@contextmanager
def _stream(run: RunFile, headers: Mapping[str, str]) -> Iterator[http.client.HTTPResponse]:
    url = urlsplit(run.rest)
    if url.scheme != "http" or url.hostname is None:
        raise ExitError(FAILED, f"bench: {run.rest}: this looks at plain REST only")
    connection = http.client.HTTPConnection(url.hostname, url.port, timeout=30.0)
    try:
        connection.request("GET", "/api/v1/stream?topics=setpoints", headers=dict(headers))
        answer = connection.getresponse()
        if answer.status != http.client.OK:
            raise ExitError(FAILED, f"bench: the stream answered {answer.status}")
        yield answer
    finally:
        if connection.sock is not None:
            connection.sock.close()
        connection.close()


@asynccontextmanager
async def _watched(
    watch: Watch, run: RunFile, at: Watched, *, data_dir: Path, mqtt_port: int | None
) -> AsyncIterator[None]:
    """Watch the setpoint `at` by every protocol until the end of the block."""
    async with AsyncExitStack() as stack:
        there = endpoints(data_dir, [at.site_id])[at.site_id]
        modbus = ModbusWire(there.modbus_host, there.modbus_port)
        await modbus.open()
        stack.callback(modbus.close)
        opcua = OpcUaWire(there.opcua_url, there.papers)
        await opcua.open()
        stack.push_async_callback(opcua.close)
        await opcua.subscribe(at.node_id, _Changes(watch), publishing_ms=OPCUA_PUBLISHING_MS)
        answer = stack.enter_context(_stream(run, credentials(data_dir)))
        reader = threading.Thread(target=_by_stream, args=(watch, answer, at.pump_id), daemon=True)
        reader.start()
        over = asyncio.Event()
        looking = asyncio.create_task(_by_modbus(watch, modbus, at, over))
        tasks = []
        if mqtt_port is not None:
            client = await stack.enter_async_context(aiomqtt.Client("127.0.0.1", mqtt_port))
            await client.subscribe("spBv1.0/#", qos=1)
            device = f"{at.station_id}.{at.pump_id}"
            tasks.append(asyncio.create_task(_by_sparkplug(watch, client, device)))
        try:
            yield
        finally:
            over.set()
            for task in tasks:
                task.cancel()
            ended = await asyncio.gather(looking, *tasks, return_exceptions=True)
        failed = [each for each in ended if isinstance(each, Exception)]
        if failed:
            raise failed[0]


async def measured(
    data_dir: Path, *, pump_id: str, start_hz: float, changes: int, mqtt_port: int | None
) -> list[Seen]:
    """Command so many speeds, a hundredth of a hertz apart, and return what each protocol's client saw of them.

    Raises:
        DeviceError: a wire does not answer.
        ExitError: nothing runs there, the pump is not known, or it does not obey.

    """
    run = running(data_dir)
    at = _setpoint_of(run, data_dir, pump_id)
    values = [round(start_hz + STEP_HZ * number, 2) for number in range(changes + 1)]

    watch = Watch(values[0])

    async def command(mode: str, value_hz: float | None) -> None:
        body = {"mode": mode, "reason": "measured"} | ({} if value_hz is None else {"setpoint_hz": value_hz})
        path = f"/api/v1/pumps/{pump_id}/mode"
        await asyncio.to_thread(call, run.rest, "POST", path, body=body, headers=credentials(data_dir))

    async with _watched(watch, run, at, data_dir=data_dir, mqtt_port=mqtt_port):
        try:
            await command("MANUAL", values[0])
            async with asyncio.timeout(_RAMP_S):
                await watch.at_start.wait()
            for value_hz in values[1:]:
                await command("MANUAL", value_hz)
                await asyncio.sleep(_EACH_S)
            await asyncio.sleep(_LAST_S)
        except TimeoutError:
            raise ExitError(
                FAILED, f"bench: {pump_id} is not at {values[0]} Hz within {_RAMP_S:g} s"
            ) from None
        finally:
            await command("AUTO", None)
    return watch.rows(values[1:])


def _setpoint_of(run: RunFile, data_dir: Path, pump_id: str) -> Watched:
    rows: list[dict[str, Any]] = call(
        run.rest, "GET", "/api/v1/tags?limit=1000", headers=credentials(data_dir)
    )
    by_wire = {
        row["protocol"]: row
        for row in rows
        if row["pump_id"] == pump_id and row["point"] == "setpoint" and row["table"] in (None, "holding")
    }
    if by_wire.keys() != {"modbus", "opcua"}:
        raise ExitError(FAILED, f"bench: no setpoint of {pump_id!r} in the map of both wires")
    modbus = by_wire["modbus"]
    return Watched(
        site_id=modbus["site_id"],
        station_id=modbus["station_id"],
        pump_id=pump_id,
        node_id=by_wire["opcua"]["node_id"],
        unit_id=modbus["unit_id"],
        address=modbus["address"],
        scale=modbus["scale"],
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure the run of `--data-dir` and print.

    Raises:
        ExitError: nothing runs there, or it does not do as it is told.

    """
    parser = argparse.ArgumentParser(prog="python -m ops.bench.seen", description=__doc__)
    parser.add_argument("--data-dir", type=Path, default=Path(".calejo"))
    parser.add_argument("--pump", default="mill-1")
    parser.add_argument("--start-hz", type=float, default=32.0)
    parser.add_argument("--changes", type=int, default=100)
    parser.add_argument("--mqtt", type=int, metavar="PORT", help="the run's broker on this machine")
    given = parser.parse_args(arguments)
    try:
        rows = asyncio.run(
            measured(
                given.data_dir,
                pump_id=given.pump,
                start_hz=given.start_hz,
                changes=given.changes,
                mqtt_port=given.mqtt,
            )
        )
    except CalejoError as error:
        raise ExitError(FAILED, f"bench: {error}") from error
    print(table(rows, changes=given.changes))
    return DONE if rows and all(row.seen == given.changes for row in rows) else FAILED


if __name__ == "__main__":
    try:
        sys.exit(main())
    except ExitError as error:
        print(f"calejo: {error.line}", file=sys.stderr)
        sys.exit(error.code)
