"""What an endpoint has to remember for `explain`: when it took a recorded decision, and what came back; pure (SAF-4).

A receipt waits a few seconds for the controller's echo. Beside receipts a row is due when the endpoint's own picture
changed (a lapse, a stop, the final check) and now and then while the chain is silent. Nothing here is on a setpoint's
way to the wire.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final

import msgspec

from actors.messages import Epoch, PublishedPump, Setpoint
from actors.publisher.gate import StationGate
from actors.safety.telling import json_safe
from actors.vocabulary import Instant
from actors.vocabulary.records import WireRecord

# A controller reads and echoes each second; one that has not by then is told of as silent.
ECHO_WAIT_S: Final = 5.0
# Safety marks a decision each minute, and its receipt is the row: this one is for a chain that is silent.
PERIOD_S: Final = 90.0
STEP_HZ: Final = 1.0
# So many wait for an echo, the older ones are written as they are; so many more fit in between two looks.
WAITING_MAX: Final = 4
TAKEN_MAX: Final = 12
# The wire's resolution is 0.01 Hz; a controller that rounds differs by one step.
ECHO_TOLERANCE_HZ: Final = 0.011

TAKEN: Final = "taken"
CHANGED: Final = "changed"
PERIODIC: Final = "periodic"

Key = tuple[str, str]


class Receipt(msgspec.Struct, frozen=True, kw_only=True):
    """One recorded decision as the gate took it: `shown` is the picture right after."""

    setpoint: Setpoint
    shown: PublishedPump
    at: Instant


class Written(msgspec.Struct, frozen=True):
    """The picture that the last row of a pump told of, and when."""

    shown: PublishedPump
    at: Instant


class ReceiptBook(msgspec.Struct, frozen=True, kw_only=True):
    """By (station, pump): receipts that wait for an echo, oldest first, bounded; and what was written last."""

    waiting: dict[Key, tuple[Receipt, ...]] = msgspec.field(default_factory=dict)
    written: dict[Key, Written] = msgspec.field(default_factory=dict)


def noted(
    book: ReceiptBook,
    station_id: str,
    *,
    before: StationGate,
    after: StationGate,
    picture: Callable[[str], PublishedPump],
) -> ReceiptBook:
    """Return the book with a receipt for each recorded decision that the gate just took."""
    waiting = dict(book.waiting)
    for pump_id, pump in after.pumps.items():
        setpoint, at = pump.last, pump.accepted_at
        if setpoint is None or at is None or not setpoint.recorded or not _is_new(before, setpoint):
            continue
        receipt = Receipt(setpoint=setpoint, shown=picture(pump_id), at=at)
        key = (station_id, pump_id)
        waiting[key] = (*waiting.get(key, ()), receipt)[-TAKEN_MAX:]
    return msgspec.structs.replace(book, waiting=waiting)


def due(
    book: ReceiptBook,
    gates: Mapping[str, StationGate],
    pictures: Mapping[Key, PublishedPump],
    *,
    endpoint: str,
    now: Instant,
) -> tuple[ReceiptBook, tuple[WireRecord, ...]]:
    """Return the rows to append now, each pump's oldest first; `pictures` are as shown now, of every pump."""
    waiting: dict[Key, tuple[Receipt, ...]] = {}
    written: dict[Key, Written] = {}
    rows: list[WireRecord] = []
    for key, shown in pictures.items():
        left = book.waiting.get(key, ())
        last = book.written.get(key)
        told = left[-1].shown if left else (None if last is None else last.shown)
        changed = told is None or _differ(told, shown)
        while left and (changed or len(left) > WAITING_MAX or _is_answered(left[0], shown, now=now)):
            receipt, left = left[0], left[1:]
            rows.append(_row(key, endpoint, receipt.shown, receipt.setpoint, shown, at=receipt.at, why=TAKEN))
            last = Written(receipt.shown, receipt.at)
        silent = not left and last is not None and now.seconds_since(last.at) >= PERIOD_S
        if changed or silent:
            setpoint = gates[key[0]].pumps[key[1]].last
            why = CHANGED if changed else PERIODIC
            rows.append(_row(key, endpoint, shown, setpoint, shown, at=now, why=why))
            last = Written(shown, now)
        if left:
            waiting[key] = left
        if last is not None:
            written[key] = last
    return ReceiptBook(waiting=waiting, written=written), tuple(rows)


def _is_new(before: StationGate, setpoint: Setpoint) -> bool:
    known = before.pumps.get(setpoint.pump_id)
    held = None if known is None else known.last
    return held is None or (held.epoch, held.sequence) != (setpoint.epoch, setpoint.sequence)


def _is_answered(receipt: Receipt, shown: PublishedPump, *, now: Instant) -> bool:
    """Whether the controller echoes what was published, or has had its time."""
    if now.seconds_since(receipt.at) >= ECHO_WAIT_S:
        return True
    if shown.echo_hz is None or shown.echo_at is None or shown.echo_at.seconds_since(receipt.at) < 0.0:
        return False
    return abs(shown.echo_hz - receipt.shown.setpoint_hz) <= ECHO_TOLERANCE_HZ


def _differ(told: PublishedPump, shown: PublishedPump) -> bool:
    """Whether two pictures differ in kind or by a step; a ramp is not a row per tick."""
    return abs(told.setpoint_hz - shown.setpoint_hz) >= STEP_HZ or _kind(told) != _kind(shown)


def _kind(shown: PublishedPump) -> tuple[object, ...]:
    return (
        shown.remote_enabled,
        shown.run_inhibit,
        shown.quality,
        shown.reason,
        shown.mode,
        shown.setpoint_hz == 0.0,
        shown.release_id,
        shown.lapses,
    )


def _row(
    key: Key,
    endpoint: str,
    shown: PublishedPump,
    setpoint: Setpoint | None,
    since: PublishedPump,
    *,
    at: Instant,
    why: str,
) -> WireRecord:
    """Return the row of a picture; `since` holds what the controller has written by now."""
    station_id, pump_id = key
    epoch = None if setpoint is None else setpoint.epoch
    return WireRecord(
        record_id=f"wire:{endpoint}/{station_id}/{pump_id}:{_number(epoch, setpoint)}:{why}:{at.boot_id}:{at.boot_ns}",
        pump_id=pump_id,
        station_id=station_id,
        endpoint=endpoint,
        at=at.utc,
        accepted_at=_time(shown.accepted_at),
        epoch_term=None if epoch is None else epoch.term,
        epoch_counter=None if epoch is None else epoch.counter,
        sequence=None if setpoint is None else setpoint.sequence,
        setpoint_hz=shown.setpoint_hz,
        remote_enabled=shown.remote_enabled,
        reason=shown.reason.name,
        detail=_detail(shown, since, why),
    )


def _detail(shown: PublishedPump, since: PublishedPump, why: str) -> dict[str, Any]:
    return {
        "why": why,
        "quality": shown.quality.name,
        "run_inhibit": shown.run_inhibit,
        "mode": None if shown.mode is None else shown.mode.name,
        "heartbeat": shown.heartbeat,
        "release_id": shown.release_id,
        "lease_left_s": round(shown.lease_left_s, 3),
        "lapses": shown.lapses,
        "refused": dict(shown.refused),
        "echo_hz": json_safe(since.echo_hz),
        "echo_at": _text(since.echo_at),
        "measured_hz": json_safe(since.measured_hz),
        "measured_at": _text(since.measured_at),
    }


def _number(epoch: Epoch | None, setpoint: Setpoint | None) -> str:
    return (
        "none" if epoch is None or setpoint is None else f"{epoch.term}.{epoch.counter}.{setpoint.sequence}"
    )


def _time(moment: Instant | None) -> datetime | None:
    return None if moment is None else moment.utc


def _text(moment: Instant | None) -> str | None:
    return None if moment is None else moment.utc.isoformat()
