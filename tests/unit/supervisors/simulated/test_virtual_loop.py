"""The virtual loop: what is parked while a cell is frozen comes due with the thaw, and only if it is still wanted."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from supervisors.simulated.virtual_loop import Cell, VirtualLoop


def play(scenario: Coroutine[Any, Any, None]) -> None:
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(scenario)


def loop() -> VirtualLoop:
    running = asyncio.get_running_loop()
    assert isinstance(running, VirtualLoop)
    return running


def test_a_frozen_cell_runs_nothing_and_goes_on_in_order() -> None:
    """SUP-8: SIGSTOP stops everything of a process, SIGCONT lets it go on where it was."""

    async def scenario() -> None:
        cell = Cell("one")
        ran: list[str] = []
        loop().call_later(1.0, ran.append, "first", context=cell.context)
        loop().call_later(2.0, ran.append, "second", context=cell.context)
        cell.frozen = True
        await asyncio.sleep(5.0)
        assert ran == []
        cell.thaw(loop())
        await asyncio.sleep(0.0)
        assert ran == ["first", "second"]

    play(scenario())


def test_a_parked_callback_can_still_be_cancelled() -> None:
    """BYD-5: a time-out that came due while its process was stopped does not strike what has ended meanwhile."""

    async def scenario() -> None:
        cell = Cell("one")
        ran: list[str] = []
        timer = loop().call_later(1.0, ran.append, "timer", context=cell.context)
        soon = loop().call_soon(ran.append, "soon", context=cell.context)
        cell.frozen = True
        await asyncio.sleep(5.0)
        timer.cancel()
        soon.cancel()
        cell.thaw(loop())
        await asyncio.sleep(1.0)
        assert ran == []

    play(scenario())


def test_what_the_first_after_a_thaw_cancels_does_not_run() -> None:
    """BYD-5: the same when the one that cancels was parked, too: as an answer that ends its own time-out."""

    async def scenario() -> None:
        cell = Cell("one")
        ran: list[str] = []
        timer = loop().call_later(2.0, ran.append, "timer", context=cell.context)
        loop().call_later(1.0, timer.cancel, context=cell.context)
        cell.frozen = True
        await asyncio.sleep(5.0)
        cell.thaw(loop())
        await asyncio.sleep(1.0)
        assert ran == []

    play(scenario())
