"""Samples every pump's handshake block over Modbus TCP at 50 Hz with sockets of its own, and judges what it saw.

Nothing of Calejo is used to read the wire: only the register layout that `calejo tags` documents.
"""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Self

BLOCK_REGISTERS = 13
RATE_HZ = 50.0
PROTECTIVE_REASONS = frozenset({10, 11, 13, 14, 12})  # stop, out of service, dry run, high level, local
ENABLED, INHIBIT = 1, 1


@dataclass(frozen=True, slots=True)
class Place:
    """Where a pump's block lies, and the band and rate that hold for it."""

    pump_id: str
    unit_id: int
    address: int
    min_hz: float
    max_hz: float
    rate_hz_per_s: float


@dataclass(frozen=True, slots=True)
class Sample:
    """One read of one block; `t_s` on this process's monotonic clock."""

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


@dataclass(slots=True)
class WireLog:
    """Reads all blocks again and again on a thread; a server that is away leaves a gap, never an error."""

    host: str
    port: int
    places: tuple[Place, ...]
    samples: list[Sample] = field(default_factory=list)
    gaps: list[tuple[float, float]] = field(default_factory=list)
    _stop: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._run, name="wire-log", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        assert self._thread is not None
        self._thread.join(timeout=10)

    def of(self, pump_id: str) -> list[Sample]:
        return [sample for sample in list(self.samples) if sample.pump_id == pump_id]

    def latest(self, pump_id: str) -> Sample | None:
        return next((sample for sample in reversed(self.samples) if sample.pump_id == pump_id), None)

    def _run(self) -> None:
        connection: socket.socket | None = None
        lost_at: float | None = None
        due = time.monotonic()
        while not self._stop.is_set():
            try:
                if connection is None:
                    connection = socket.create_connection((self.host, self.port), timeout=1.0)
                    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                for place in self.places:
                    self.samples.append(_read(connection, place))
                if lost_at is not None:
                    self.gaps.append((lost_at, time.monotonic()))
                    lost_at = None
            except (OSError, EOFError):
                lost_at = lost_at if lost_at is not None else time.monotonic()
                if connection is not None:
                    connection.close()
                    connection = None
            due = max(due + 1 / RATE_HZ, time.monotonic())
            self._stop.wait(due - time.monotonic())
        if lost_at is not None:
            self.gaps.append((lost_at, time.monotonic()))
        if connection is not None:
            connection.close()


def _read(connection: socket.socket, place: Place) -> Sample:
    request = struct.pack(">HHHBBHH", 7, 0, 6, place.unit_id, 3, place.address, BLOCK_REGISTERS)
    connection.sendall(request)
    answer = _exactly(connection, 9 + 2 * BLOCK_REGISTERS)
    words = struct.unpack(f">{BLOCK_REGISTERS}H", answer[9:])
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


def faults(samples: Iterable[Sample], place: Place, *, period_s: float = 1.0) -> Iterator[str]:
    """Yield what is unsafe in one pump's samples: outside {0} and its band, torn, too large a step, older epoch."""
    listed = list(samples)
    for sample in listed:
        if sample.setpoint_hz != 0 and not place.min_hz <= sample.setpoint_hz <= place.max_hz:
            yield f"{sample}: outside 0 and {place.min_hz}..{place.max_hz} Hz"
        if sample.sequence != sample.sequence_end:
            yield f"{sample}: torn"
    step_max_hz = place.rate_hz_per_s * period_s + 0.011  # the wire's resolution
    for before, after in pairwise(listed):
        if after.epoch < before.epoch:
            yield f"{after}: epoch went back from {before.epoch}"
        if not (before.enabled and after.enabled):
            continue
        step_hz = abs(after.setpoint_hz - before.setpoint_hz)
        start_or_stop = {before.setpoint_hz, after.setpoint_hz} == {0.0, place.min_hz}
        protective = after.setpoint_hz == 0 and after.reason in PROTECTIVE_REASONS
        if step_hz > step_max_hz and not start_or_stop and not protective:
            yield f"{before} -> {after}: a step of {step_hz:.2f} Hz, at most {step_max_hz:.2f} allowed"


def heartbeat_moves(samples: Iterable[Sample], *, from_s: float, to_s: float) -> int:
    """Count how often the heartbeat moved between two moments."""
    inside = [sample.heartbeat for sample in samples if from_s <= sample.t_s <= to_s]
    return sum(before != after for before, after in pairwise(inside))


def lapses(samples: Iterable[Sample]) -> int:
    """Count how often remote_enabled fell from 1 to 0: the plant noticed something."""
    return sum(before.enabled and not after.enabled for before, after in pairwise(list(samples)))
