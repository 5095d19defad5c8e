"""Takes commands in: at once what stops, in turn what operators ask for, and no more of the rest than we can bear."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

from actors.vocabulary import InvalidValueError
from protocols.endpoint import ClientWrite, WriteGuard
from protocols.sparkplug.commands import (
    METRICS_MAX,
    SCADA_HEARTBEAT,
    STOP,
    Answer,
    Answers,
    Commands,
    Request,
)
from protocols.sparkplug.edge import EdgeNode, Sample
from protocols.sparkplug.names import OPERATOR_POINTS
from protocols.sparkplug.schema import Payload, decode

BYTES_MAX: Final = 16_384
ORDERS_MAX: Final = 32
COMMANDS_PER_S: Final = 50.0
"""Messages with an operator's request; above that they are answered `busy` and may be sent again as they are."""
HEARTBEATS_PER_S: Final = 5.0
"""Of one station: a SCADA that beats each second must not compete with anybody's commands, nor with garbage."""
REFUSALS_PER_S: Final = 20.0
"""Refusals that are answered and brought to be audited; the others are counted."""
GARBAGE_PER_S: Final = 1.0
"""Messages that nobody can read and that are told; all are counted."""


class Budget:
    """So many a second, and a second's worth at once; time (s, any origin) is an argument."""

    def __init__(self, per_s: float) -> None:
        self._per_s = self._left = per_s
        self._at_s = 0.0

    def take(self, now_s: float) -> bool:
        """Take one; False: there is none."""
        self._left = min(self._per_s, self._left + max(0.0, now_s - self._at_s) * self._per_s)
        self._at_s = now_s
        if self._left < 1.0:
            return False
        self._left -= 1.0
        return True


class CommandDesk:
    """Puts commands before the publisher's guard and shows its answers; `peer` is the broker: it names no sender."""

    def __init__(
        self,
        edge: EdgeNode,
        commands: Commands,
        *,
        peer: str,
        now_ms: Callable[[], int],
        show: Callable[[Sequence[Sample]], None],
        tell: Callable[[str, str], None],
    ) -> None:
        self._edge = edge
        self._commands = commands
        self._peer = peer
        self._now_ms = now_ms
        self._show = show
        self._tell = tell
        self._answers = Answers()
        self._orders: asyncio.Queue[list[Request]] = asyncio.Queue(ORDERS_MAX)
        self._guard: WriteGuard | None = None
        self._commanded = Budget(COMMANDS_PER_S)
        self._refusals = Budget(REFUSALS_PER_S)
        self._garbage = Budget(GARBAGE_PER_S)
        self._heartbeats: dict[str, Budget] = {}
        self.taken = 0
        self.refused = 0

    def open(self, guard: WriteGuard) -> None:
        """Begin to judge with the publisher's guard."""
        self._guard = guard

    def configured(self) -> None:
        """Wait no longer for devices that are gone."""
        devices = frozenset(each.device for each in self._edge.definitions.values())
        self._answers.forget(devices)
        self._heartbeats = {key: held for key, held in self._heartbeats.items() if key in devices}

    def shown(self, devices: set[str]) -> None:
        """Look whether the wire now shows what became of a command."""
        for device in devices:
            if self._answers.waits_for(device):
                self._answer(self._answers.seen(device, self._held(device)))

    def look(self) -> None:
        """Answer commands of which nothing was seen for too long."""
        self._answer(self._answers.overdue(now_ms=self._now_ms()))

    def stops(self, device: str, content: bytes) -> bool:
        """Whether a message asks for an emergency stop, as far as it can be read."""
        try:
            payload = self._read(content)
        except InvalidValueError:
            return False
        return self._commands.stops(device, payload)

    async def take(self, device: str, content: bytes, *, retained: bool) -> bool:
        """Take one command message; return whether a birth was asked for."""
        now_s = asyncio.get_running_loop().time()
        try:
            payload = self._read(content)
        except InvalidValueError as error:
            self.refused += 1
            if self._garbage.take(now_s):
                self._tell("refused", f"{device[:80] or 'node'}: {error}")
            return False
        requests, rebirth = self._commands.judge(
            device, payload, retained=retained, now_ms=self._now_ms(), busy=self._admission(device, now_s)
        )
        # A stop is never impeded by a flood of anything else (EST-4); one that is refused here is none.
        stops = [each for each in requests if each.name == STOP and each.refusal is None]
        refused = [each for each in requests if each.refusal is not None]
        if stops:
            await self._put(stops)
        if refused and self._refusals.take(now_s):
            await self._put(refused)
        else:
            self.refused += len(refused)
        await self._take_others([each for each in requests if each.name != STOP and each.refusal is None])
        return rebirth

    def _read(self, content: bytes) -> Payload:
        """Return a command's payload.

        Raises:
            InvalidValueError: it is too long, or none.

        """
        if len(content) > BYTES_MAX:
            raise InvalidValueError(f"{len(content)} bytes, at most {BYTES_MAX} expected")
        return decode(content, metrics_max=METRICS_MAX)

    def _admission(self, device: str, now_s: float) -> Callable[[str], str]:
        """Return what says why a metric of this message cannot be taken now; one message is one command."""
        orders: list[str] = []

        def busy(name: str) -> str:
            if name == SCADA_HEARTBEAT:
                budget = self._heartbeats.setdefault(device, Budget(HEARTBEATS_PER_S))
                return (
                    "" if budget.take(now_s) else f"busy: more than {HEARTBEATS_PER_S:g} heartbeats a second"
                )
            if not orders:
                if self._orders.full():
                    orders.append("busy: too many commands at once")
                else:
                    room = self._commanded.take(now_s)
                    orders.append("" if room else f"busy: more than {COMMANDS_PER_S:g} commands a second")
            return orders[0]

        return busy

    async def _take_others(self, requests: Sequence[Request]) -> None:
        asked = [each for each in requests if each.name in OPERATOR_POINTS]
        at_once = [each for each in requests if each.name not in OPERATOR_POINTS]
        if asked:
            # `_admission` has seen to it that there is room.
            self._orders.put_nowait(asked)
        if at_once:
            await self._put(at_once)

    async def obey(self) -> None:
        """Put operators' requests before the pumps, one message after the other: a pump may take its time."""
        while True:
            await self._put(await self._orders.get())

    async def _put(self, requests: Sequence[Request]) -> None:
        """Have the publisher judge and carry out requests, and answer each."""
        assert self._guard is not None, "commands come after the opening"
        writes = [
            ClientWrite(path=each.path, value=each.value, peer=self._peer, refusal=each.refusal)
            for each in requests
        ]
        verdicts = await self._guard(writes, False)
        for request, verdict in zip(requests, verdicts, strict=True):
            self.taken += verdict is None
            self.refused += verdict is not None
            shown = self._held(request.device)
            self._answer(self._answers.decided(request, verdict, shown, now_ms=self._now_ms()))

    def _answer(self, answers: Sequence[Answer]) -> None:
        for answer in answers:
            if self._edge.of_device(answer.device) is not None:
                self._show(answer.samples(self._now_ms()))

    def _held(self, device: str) -> dict[str, Sample]:
        metrics = self._edge.of_device(device) or {}
        held = ((each.name, self._edge.held(path)) for path, each in metrics.items())
        return {name: sample for name, sample in held if sample is not None}
