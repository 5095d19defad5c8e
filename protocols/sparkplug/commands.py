"""What a host asks for by NCMD and DCMD, whether it may be asked now, and what is answered; pure.

A command is judged here for what only this wire knows: retained, replayed or too old, an unknown metric, a value of
another type. Everything else (the mode, the range, the latch) is the publisher's and the safety layer's matter.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import StrEnum, unique
from typing import Final

import msgspec

from actors.vocabulary import InvalidValueError, Mode, Quality, Reason, WriteRefusal
from protocols.sparkplug.edge import EdgeNode, Sample
from protocols.sparkplug.names import (
    ANSWER_DETAIL,
    ANSWER_ID,
    ANSWER_METRIC,
    ANSWER_RESULT,
    MODE_REQUEST,
    NODE,
    OPERATOR_POINTS,
    REBIRTH,
    SETPOINT_REQUEST,
    Definition,
    own_path,
)
from protocols.sparkplug.schema import Metric, Payload, understood

METRICS_MAX: Final = 64
STOP: Final = "emergency_stop"
SCADA_HEARTBEAT: Final = "scada_heartbeat"
_STOPS_REMEMBERED: Final = 256
_MS_PER_S: Final = 1_000
# The first fresh setpoint after a command may have been decided before it; the second cannot have been.
_BEATS_NEEDED: Final = 2
_HZ_TOLERANCE: Final = 0.005
# The slowest ramp of a sound drive, 0.1 Hz/s over a whole band, is done by then.
_PENDING_MS_MAX: Final = 600_000


@unique
class Result(StrEnum):
    """What became of a command."""

    ACCEPTED = "accepted"
    CLAMPED = "clamped"
    REJECTED = "rejected"
    APPLIED = "applied"
    SUPERSEDED = "superseded"
    UNCONFIRMED = "unconfirmed"


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """One commanded metric. `refusal` None: to be put before the publisher's guard; `why` says more than it does."""

    path: str
    device: str
    name: str
    value: bool | int | float
    timestamp_ms: int
    refusal: WriteRefusal | None = None
    why: str = ""


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What a device's answer metrics show: the last command, by its timestamp and metric."""

    device: str
    id_ms: int
    name: str
    result: Result
    detail: str = ""

    def samples(self, at_ms: int) -> tuple[Sample, ...]:
        """Return it as values of the answer metrics."""
        texts = {ANSWER_METRIC: self.name, ANSWER_RESULT: self.result.value, ANSWER_DETAIL: self.detail}
        return (
            Sample(own_path(self.device, ANSWER_ID), self.id_ms, Quality.GOOD, at_ms),
            *(Sample(own_path(self.device, name), text, Quality.GOOD, at_ms) for name, text in texts.items()),
        )


class Commands:
    """Judges commands; remembers of each metric the newest that it let pass, so that none counts twice."""

    def __init__(self, edge: EdgeNode, *, operator_commands: bool, age_s_max: float) -> None:
        self._edge = edge
        self._operator_commands = operator_commands
        self._age_ms_max = age_s_max * _MS_PER_S
        self._newest: dict[str, int] = {}
        self._stops: dict[tuple[str, int], None] = {}

    def judge(
        self,
        device: str,
        payload: Payload,
        *,
        retained: bool,
        now_ms: int,
        busy: Callable[[str], str] = lambda _: "",
    ) -> tuple[list[Request], bool]:
        """Return the requests of a command message, and whether the node is to be born again.

        `busy` says of a metric's name why nothing more of its kind can be taken now ('' it can). It is asked only for
        what could go on otherwise, and what it turns away may be sent again as it is.
        """
        metrics = self._edge.of_device(device)
        by_name = {} if metrics is None else {each.name: each for each in metrics.values()}
        by_alias = (
            {} if metrics is None else {self._edge.alias_of(path): each for path, each in metrics.items()}
        )
        self._newest = {path: at for path, at in self._newest.items() if path in self._edge.definitions}
        requests = []
        rebirth = False
        for metric in payload.metrics:
            if device == NODE and metric.name == REBIRTH:
                # Asked for too often it costs us work, and it moves nothing: only a retained one is not meant now.
                rebirth = rebirth or (metric.value is True and not retained)
                continue
            found = by_name.get(metric.name) if metric.name else by_alias.get(metric.alias or 0)
            at_ms = metric.timestamp_ms if metric.timestamp_ms is not None else payload.timestamp_ms
            requests.append(
                self._judged(device, metric, found, at_ms=at_ms, retained=retained, now_ms=now_ms, busy=busy)
            )
        return requests, rebirth

    def _judged(
        self,
        device: str,
        metric: Metric,
        found: Definition | None,
        *,
        at_ms: int | None,
        retained: bool,
        now_ms: int,
        busy: Callable[[str], str],
    ) -> Request:
        name = metric.name or f"alias {metric.alias}"
        bare = Request(
            path=f"{self._edge.node.node_id}/{device}/{name}"[:200] if found is None else found.path,
            device=device,
            name=(name if found is None else found.name)[:80],
            value=0,
            timestamp_ms=min(at_ms or 0, (1 << 63) - 1),
        )
        if found is None:
            return _refused(bare, WriteRefusal.UNKNOWN_POINT, "no such metric here")
        if not found.writable:
            return _refused(bare, WriteRefusal.READ_ONLY, "read-only")
        try:
            value = understood(metric, found.datatype)
        except InvalidValueError as error:
            return _refused(bare, WriteRefusal.BAD_TYPE, str(error))
        assert not isinstance(value, str), "no writable metric is a text"
        meant = msgspec.structs.replace(bare, value=value)
        if found.name in OPERATOR_POINTS and not self._operator_commands:
            return _refused(meant, WriteRefusal.NOT_PERMITTED, "sparkplug.operator_commands is off")
        if retained:
            return _refused(meant, WriteRefusal.STALE, "retained")
        if found.name == STOP:
            return self._judged_stop(meant, at_ms)
        if at_ms is None:
            return _refused(meant, WriteRefusal.STALE, "without a timestamp")
        if abs(now_ms - at_ms) > self._age_ms_max:
            text = f"{(now_ms - at_ms) / _MS_PER_S:.1f} s old, at most {self._age_ms_max / _MS_PER_S:g} s"
            return _refused(meant, WriteRefusal.STALE, text)
        if at_ms <= self._newest.get(found.path, -1):
            return _refused(meant, WriteRefusal.STALE, "replayed: not newer than the last")
        if why := busy(found.name):
            return _refused(meant, WriteRefusal.DEVICE_FAILURE, why)
        self._newest[found.path] = at_ms
        return meant

    def stops(self, device: str, payload: Payload) -> bool:
        """Whether a message asks for an emergency stop; nothing of it is judged."""
        metrics = self._edge.of_device(device) or {}
        own = next((path for path, each in metrics.items() if each.name == STOP), None)
        alias = None if own is None else self._edge.alias_of(own)
        return own is not None and any(
            each.name == STOP if each.name else each.alias == alias for each in payload.metrics
        )

    def _judged_stop(self, meant: Request, at_ms: int | None) -> Request:
        """Let a stop pass whatever its sender's clock says (EST-4); the same message again is no new stop."""
        if at_ms is None:
            return meant
        key = (meant.path, at_ms)
        if key in self._stops:
            return _refused(meant, WriteRefusal.STALE, "replayed")
        self._stops[key] = None
        if len(self._stops) > _STOPS_REMEMBERED:
            del self._stops[next(iter(self._stops))]
        return meant


def _refused(request: Request, refusal: WriteRefusal, why: str) -> Request:
    return msgspec.structs.replace(request, refusal=refusal, why=why)


class _Pending(msgspec.Struct, frozen=True, kw_only=True):
    request: Request
    heartbeat: object
    until_ms: int
    beats: int = 0


class Answers:
    """Follows each device's accepted operator commands, one per metric, until the wire shows what became of them."""

    def __init__(self) -> None:
        self._pending: dict[tuple[str, str], _Pending] = {}

    def decided(
        self, request: Request, refusal: WriteRefusal | None, shown: Mapping[str, Sample], *, now_ms: int
    ) -> list[Answer]:
        """Return the answers to a request that was judged; none: a heartbeat that was taken, which nobody waits for.

        A command that this one overtakes is answered, too: what it asked for never will be shown.
        """
        if refusal is not None:
            return [_answer(request, Result.REJECTED, request.why or refusal.value)]
        if request.name == SCADA_HEARTBEAT:
            return []
        if request.name == STOP:
            # On the wire before anybody is answered (EST-1); 0 changes nothing.
            return [_answer(request, Result.APPLIED if request.value else Result.ACCEPTED, "")]
        beat = shown.get("heartbeat")
        key = (request.device, request.name)
        before = self._pending.get(key)
        self._pending[key] = _Pending(
            request=request, heartbeat=None if beat is None else beat.value, until_ms=now_ms + _PENDING_MS_MAX
        )
        overtaken = f"by the command of {request.timestamp_ms}"
        told = [] if before is None else [_answer(before.request, Result.SUPERSEDED, overtaken)]
        return [*told, _answer(request, Result.ACCEPTED, "")]

    def waits_for(self, device: str) -> bool:
        """Whether a device's wire is being watched."""
        return any(key[0] == device for key in self._pending)

    def seen(self, device: str, shown: Mapping[str, Sample]) -> list[Answer]:
        """Return the final answers once a setpoint that was decided after the commands is on the wire."""
        beat = shown.get("heartbeat")
        told: list[Answer] = []
        for key, pending in list(self._pending.items()):
            if key[0] != device or beat is None:
                continue
            held = pending
            if beat.value != held.heartbeat:
                held = msgspec.structs.replace(held, heartbeat=beat.value, beats=held.beats + 1)
                self._pending[key] = held
            answer = _outcome(held.request, shown) if held.beats >= _BEATS_NEEDED else None
            if answer is not None:
                del self._pending[key]
                told.append(answer)
        return told

    def overdue(self, *, now_ms: int) -> list[Answer]:
        """Return an answer to each command that nothing was seen of for too long, and wait for it no more."""
        gone = [key for key, pending in self._pending.items() if now_ms >= pending.until_ms]
        detail = f"not seen on the wire within {_PENDING_MS_MAX // _MS_PER_S} s"
        return [_answer(self._pending.pop(key).request, Result.UNCONFIRMED, detail) for key in gone]

    def forget(self, devices: frozenset[str]) -> None:
        """Drop those that are gone."""
        self._pending = {key: held for key, held in self._pending.items() if key[0] in devices}


def _outcome(request: Request, shown: Mapping[str, Sample]) -> Answer | None:
    mode, setpoint, reason = (shown.get(name) for name in ("mode", "setpoint", "reason"))
    wanted = int(request.value) if request.name == MODE_REQUEST else Mode.MANUAL.value
    if mode is None or mode.value != wanted:
        held = "no mode" if mode is None or mode.value == 0 else Mode(_whole(mode)).name
        return _answer(request, Result.REJECTED, f"the wire shows {held}")
    if request.name != SETPOINT_REQUEST:
        return _answer(request, Result.APPLIED, "")
    if setpoint is None or reason is None or reason.value == Reason.RAMP:
        return None
    applied = setpoint.value
    assert isinstance(applied, int | float), "a setpoint is a number"
    if abs(applied - request.value) <= _HZ_TOLERANCE:
        return _answer(request, Result.APPLIED, "")
    return _answer(request, Result.CLAMPED, f"{applied:.2f} Hz: {Reason(_whole(reason)).name}")


def _whole(sample: Sample) -> int:
    assert isinstance(sample.value, int), "codes are whole numbers"
    return sample.value


def _answer(request: Request, result: Result, detail: str) -> Answer:
    return Answer(
        device=request.device,
        id_ms=request.timestamp_ms,
        name=request.name,
        result=result,
        detail=detail[:200],
    )
