"""Samples every pump's registers over Modbus TCP at 50 Hz with sockets of its own, and judges what it saw.

Nothing of Calejo is used to read the wire: only the register layout that `calejo tags` documents.
"""

from __future__ import annotations

import bisect
import contextlib
import os
import socket
import struct
import threading
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final, Self

# The handshake block and the feedback behind it, in one read.
REGISTERS = 33
RATE_HZ = 50.0
RATE_HZ_MIN = 40.0
NICENESS = -10
PROTECTIVE_REASONS = frozenset({10, 11, 13, 14, 12})  # stop, out of service, dry run, high level, local
ENABLED, INHIBIT = 1, 1


@dataclass(frozen=True, slots=True)
class Place:
    """Where a pump's block lies, and the band and rate that hold for it."""

    station_id: str
    pump_id: str
    unit_id: int
    address: int
    min_hz: float
    max_hz: float
    rate_hz_per_s: float


@dataclass(frozen=True, slots=True)
class Sample:
    """One read of one pump; `t_s` on this process's monotonic clock."""

    t_s: float
    pump_id: str
    sequence: int
    enabled: bool
    inhibit: bool
    setpoint_hz: float
    quality: int
    heartbeat: int
    epoch: int
    release_id: int
    reason: int
    sequence_end: int
    actual_hz: float
    level_m: float


@dataclass(frozen=True, slots=True)
class Finding:
    """What was wrong, and when it was seen."""

    t_s: float
    text: str


@dataclass(slots=True)
class WireLog:
    """Reads all pumps again and again on a thread; a server that is away leaves a gap, never an error."""

    host: str
    port: int
    places: tuple[Place, ...]
    gaps: list[tuple[float, float]] = field(default_factory=list)
    _samples: dict[str, list[Sample]] = field(default_factory=dict)
    _stop: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        self._samples = {place.pump_id: [] for place in self.places}
        self._thread = threading.Thread(target=self._run, name="wire-log", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        assert self._thread is not None
        self._thread.join(timeout=10)

    def of(self, pump_id: str, *, since_s: float = 0.0, to_s: float = float("inf")) -> list[Sample]:
        # In the order of their times; a long log is asked for its last second again and again.
        samples = self._samples[pump_id]
        begin = bisect.bisect_left(samples, since_s, key=lambda sample: sample.t_s)
        end = bisect.bisect_right(samples, to_s, lo=begin, key=lambda sample: sample.t_s)
        return samples[begin:end]

    def latest(self, pump_id: str) -> Sample | None:
        samples = self._samples[pump_id]
        return samples[-1] if samples else None

    @property
    def seconds(self) -> float:
        """For how long it has sampled."""
        samples = next(iter(self._samples.values()))
        return samples[-1].t_s - samples[0].t_s if samples else 0.0

    def place(self, pump_id: str) -> Place:
        return next(place for place in self.places if place.pump_id == pump_id)

    def pumps_of(self, station_id: str) -> list[str]:
        return [place.pump_id for place in self.places if place.station_id == station_id]

    def rate_hz(self, since_s: float, to_s: float) -> float:
        """Return how often the least sampled pump was seen per second; what the server was away for does not count."""
        away_s = sum(max(0.0, min(end, to_s) - max(begin, since_s)) for begin, end in self.gaps)
        seen = min(len(self.of(place.pump_id, since_s=since_s, to_s=to_s)) for place in self.places)
        return seen / max(to_s - since_s - away_s, 1 / RATE_HZ)

    def moving(self, since_s: float, to_s: float) -> set[str]:
        """Return the pumps whose setpoint was above 0 and changed: a value that stands still proves little."""
        return {
            place.pump_id
            for place in self.places
            if len({s.setpoint_hz for s in self.of(place.pump_id, since_s=since_s, to_s=to_s)} - {0.0}) > 1
        }

    def findings(self) -> list[Finding]:
        """Return everything unsafe that was seen of any pump."""
        return [finding for place in self.places for finding in findings(self.of(place.pump_id), place)]

    def _run(self) -> None:
        # The measuring must not wait for what is measured; who may not, samples as well as it can.
        with contextlib.suppress(PermissionError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)
        connection: socket.socket | None = None
        lost_at: float | None = None
        due = time.monotonic()
        while not self._stop.is_set():
            began = time.monotonic()
            try:
                if connection is None:
                    connection = socket.create_connection((self.host, self.port), timeout=1.0)
                    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._sweep(connection)
                if lost_at is not None:
                    self.gaps.append((lost_at, time.monotonic()))
                    lost_at = None
            except (OSError, EOFError):
                lost_at = lost_at if lost_at is not None else began
                if connection is not None:
                    connection.close()
                    connection = None
            due = max(due + 1 / RATE_HZ, time.monotonic())
            self._stop.wait(due - time.monotonic())
        if lost_at is not None:
            self.gaps.append((lost_at, time.monotonic()))
        if connection is not None:
            connection.close()

    def _sweep(self, connection: socket.socket) -> None:
        """Ask for all pumps in one go and take the answers in order."""
        requests = [
            struct.pack(">HHHBBHH", number, 0, 6, place.unit_id, 3, place.address, REGISTERS)
            for number, place in enumerate(self.places)
        ]
        connection.sendall(b"".join(requests))
        for number, place in enumerate(self.places):
            self._samples[place.pump_id].append(_sample(_answer(connection, number), place))


def _answer(connection: socket.socket, number: int) -> tuple[int, ...]:
    answer = _exactly(connection, 9 + 2 * REGISTERS)
    if struct.unpack(">H", answer[:2]) != (number,):
        raise OSError(f"the answer to request {number} is {answer[:9].hex()}")
    return struct.unpack(f">{REGISTERS}H", answer[9:])


def _sample(words: tuple[int, ...], place: Place) -> Sample:
    return Sample(
        t_s=time.monotonic(),
        pump_id=place.pump_id,
        sequence=words[0],
        enabled=words[1] == ENABLED,
        inhibit=words[2] == INHIBIT,
        setpoint_hz=words[3] / 100,
        quality=words[4],
        heartbeat=words[5],
        epoch=words[6] << 16 | words[7],
        release_id=words[8] << 16 | words[9],
        reason=words[10],
        sequence_end=words[11],
        actual_hz=words[23] / 100,
        level_m=(words[28] << 16 | words[29]) / 1000,
    )


def _exactly(connection: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        more = connection.recv(count - len(data))
        if not more:
            raise EOFError
        data += more
        if len(data) >= 8 and data[7] & 0x80:
            raise OSError(f"exception {data.hex()}")
    return data


# ------------------------------------------------------------------ what must hold for every sample (SAF-2, SAF-11)


# Decision to wire takes 20 to 70 ms (ops/docs/bench.md), so two decisions this far apart may show as one change.
_OVERTAKEN_WITHIN_S: Final = 0.1


def findings(samples: Iterable[Sample], place: Place, *, period_s: float = 1.0) -> Iterator[Finding]:
    """Yield what is unsafe in one pump's samples: outside {0} and its band, torn, too large a step, older epoch."""
    listed = list(samples)
    for sample in listed:
        if sample.setpoint_hz != 0 and not place.min_hz <= sample.setpoint_hz <= place.max_hz:
            yield Finding(sample.t_s, f"{sample}: outside 0 and {place.min_hz}..{place.max_hz} Hz")
        if sample.sequence != sample.sequence_end:
            yield Finding(sample.t_s, f"{sample}: torn")
    for before, after in pairwise(listed):
        if after.epoch < before.epoch:
            yield Finding(after.t_s, f"{after}: epoch went back from {before.epoch}")
        if not (before.enabled and after.enabled):
            continue
        # What was decided between two samples is at most a tick's ramp, and the ramp of the time between them: a
        # tick may be followed at once by another decision, and across a gap of the server there are several ticks.
        # On its way the one may be overtaken by the other: newer setpoints replace those that still wait.
        between_s = after.t_s - before.t_s + _OVERTAKEN_WITHIN_S
        step_max_hz = place.rate_hz_per_s * (period_s + between_s) + 0.011  # the wire's resolution
        step_hz = abs(after.setpoint_hz - before.setpoint_hz)
        start_or_stop = {before.setpoint_hz, after.setpoint_hz} == {0.0, place.min_hz}
        protective = after.setpoint_hz == 0 and after.reason in PROTECTIVE_REASONS
        if step_hz > step_max_hz and not start_or_stop and not protective:
            text = f"{before} -> {after}: a step of {step_hz:.2f} Hz, at most {step_max_hz:.2f} allowed"
            yield Finding(after.t_s, text)


def heartbeats(samples: Iterable[Sample]) -> list[float]:
    """Return the moments at which the heartbeat was seen to have moved."""
    return [after.t_s for before, after in pairwise(samples) if before.heartbeat != after.heartbeat]


def lapses(samples: Iterable[Sample]) -> list[float]:
    """Return the moments at which remote_enabled fell from 1 to 0: the plant noticed something."""
    return [after.t_s for before, after in pairwise(samples) if before.enabled and not after.enabled]
