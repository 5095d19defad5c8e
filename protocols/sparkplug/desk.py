"""Takes commands in: at once what stops, in turn what operators ask for, and no more of the rest than we can bear."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from actors.vocabulary import InvalidValueError, WriteRefusal
from protocols.endpoint import ClientWrite, WriteGuard
from protocols.sparkplug.commands import METRICS_MAX, STOP, Answer, Answers, Commands, Request
from protocols.sparkplug.edge import EdgeNode, Sample
from protocols.sparkplug.names import OPERATOR_POINTS
from protocols.sparkplug.schema import decode

BYTES_MAX: Final = 16_384
ORDERS_MAX: Final = 32
COMMANDS_PER_S: Final = 50.0


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
        self._budget, self._budget_at_s = COMMANDS_PER_S, 0.0
        self.taken = 0
        self.refused = 0

    def open(self, guard: WriteGuard) -> None:
        """Begin to judge with the publisher's guard."""
        self._guard = guard

    def configured(self) -> None:
        """Wait no longer for devices that are gone."""
        self._answers.forget(frozenset(each.device for each in self._edge.definitions.values()))

    def shown(self, devices: set[str]) -> None:
        """Look whether the wire now shows what became of a command."""
        for device in devices:
            if self._answers.waits_for(device):
                self._answer(self._answers.seen(device, self._held(device)))

    async def take(self, device: str, content: bytes, *, retained: bool) -> bool:
        """Take one command message; return whether a birth was asked for."""
        try:
            if len(content) > BYTES_MAX:
                raise InvalidValueError(f"{len(content)} bytes, at most {BYTES_MAX} expected")
            payload = decode(content, metrics_max=METRICS_MAX)
        except InvalidValueError as error:
            self.refused += 1
            if self._affordable():
                self._tell("refused", f"{device[:80] or 'node'}: {error}")
            return False
        requests, rebirth = self._commands.judge(device, payload, retained=retained, now_ms=self._now_ms())
        # A stop is never impeded by a flood of anything else (EST-4).
        stops = [each for each in requests if each.name == STOP]
        others = [each for each in requests if each.name != STOP]
        if stops:
            await self._put(stops)
        if others and not self._affordable():
            self.refused += len(others)
        elif others:
            await self._take_others(others)
        return rebirth

    async def _take_others(self, requests: Sequence[Request]) -> None:
        asked = [each for each in requests if each.name in OPERATOR_POINTS and each.refusal is None]
        at_once = [each for each in requests if each not in asked]
        if asked and self._orders.full():
            busy, why = WriteRefusal.DEVICE_FAILURE, "too many commands at once"
            at_once += [msgspec.structs.replace(each, refusal=busy, why=why) for each in asked]
        elif asked:
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
            self._answer(self._answers.decided(request, verdict, self._held(request.device)))

    def _answer(self, answer: Answer | None) -> None:
        if answer is not None and self._edge.of_device(answer.device) is not None:
            self._show(answer.samples(self._now_ms()))

    def _held(self, device: str) -> dict[str, Sample]:
        metrics = self._edge.of_device(device) or {}
        held = ((each.name, self._edge.held(path)) for path, each in metrics.items())
        return {name: sample for name, sample in held if sample is not None}

    def _affordable(self) -> bool:
        now_s = asyncio.get_running_loop().time()
        refilled = self._budget + (now_s - self._budget_at_s) * COMMANDS_PER_S
        self._budget, self._budget_at_s = min(refilled, COMMANDS_PER_S), now_s
        if self._budget < 1.0:
            return False
        self._budget -= 1.0
        return True
