"""Timing a stop: goal: the clock runs from the request to the answer of the look that shows it on every pump."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest

from actors.messages import LatencySummary
from actors.vocabulary import DeviceError, Scope
from ops.bench.report import KernelRate, LawReport, StopTime, law_tables
from ops.bench.stops import Rest, Watch
from ops.kit.clients import Shown
from ops.kit.tags import Tag, tags_of
from protocols.points import tags
from tests.unit.api.served import TOPOLOGY, Memory, served
from tests.unit.ops.bench.test_report import MACHINE
from tests.unit.protocols.plants import north

INHIBITS = [tag for tag in tags_of(tags(north())) if tag.point == "run_inhibit"]


class Wire:
    """Shows the inhibit on so many pumps, the first ones first."""

    def __init__(self) -> None:
        self.shown = 0
        self.fails = False

    async def read(self, asked: Sequence[Tag]) -> dict[str, Shown]:
        if self.fails:
            raise DeviceError("modbus: no connection")
        return {tag.path: Shown(value=number < self.shown) for number, tag in enumerate(asked)}


def test_a_stop_counts_when_the_last_pump_shows_it() -> None:
    """EST-1: on the wire of an endpoint means: for every pump that it covers; and cleared means for none."""

    async def story() -> None:
        wire = Wire()
        watch = Watch("Modbus", wire.read, INHIBITS)
        task = asyncio.create_task(watch.look())
        try:
            await watch.until(False, within_s=5.0)
            began_ns = time.monotonic_ns()
            wire.shown = len(INHIBITS) - 1
            with pytest.raises(TimeoutError):
                await watch.until(True, within_s=0.1)
            wire.shown = len(INHIBITS)
            all_shown_ns = time.monotonic_ns()
            seen_ns = await watch.until(True, within_s=5.0)
            assert began_ns < all_shown_ns <= seen_ns <= time.monotonic_ns()
            assert await watch.until(True, within_s=1.0) == seen_ns
            wire.shown = 1
            with pytest.raises(TimeoutError):
                await watch.until(False, within_s=0.1)
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    asyncio.run(story())


def test_a_stop_by_rest_is_one_request_and_its_clear_names_it(tmp_path: Path) -> None:
    """EST-1, EST-2: what the bench sets it clears, and a refused stop is no figure."""
    with served(tmp_path, memory=Memory(TOPOLOGY)) as api:
        rest = Rest(f"http://127.0.0.1:{api.rest}", {"Authorization": f"Bearer {api.token('bench')}"})
        began_ns, ended_ns = rest.stop("north")
        assert 0 < ended_ns - began_ns < 10e9
        assert [(stop.scope, stop.scope_id) for stop in api.latches.held.active()] == [(Scope.SITE, "north")]
        rest.clear()
        assert api.latches.held.active() == ()
        rest.clear()
        with pytest.raises(DeviceError, match="404"):
            rest.stop("nowhere")
    with pytest.raises(DeviceError, match="no answer"):
        rest.stop("north")


def test_the_report_holds_every_figure() -> None:
    """OPS-5: table and JSON say the same."""
    summary = LatencySummary(count=50, p50_ms=12.3, p99_ms=45.6, max_ms=78.9)
    report = LawReport(
        machine=MACHINE,
        kernel=(
            KernelRate(pumps=4, what="quiet", decisions_per_s=12345.6, round_p50_us=321, round_p99_us=654),
        ),
        stops=(
            StopTime(way="REST", wire="Modbus", pumps=7, summary=summary),
            StopTime(way="REST", wire="answer", pumps=7, summary=None),
        ),
    )
    text = law_tables(report)
    for figure in ("12346", "321", "654", "12.3", "45.6", "78.9", "REST, Modbus", "4 pumps, quiet", "abc"):
        assert figure in text, figure
    assert msgspec.json.decode(msgspec.json.encode(report), type=LawReport) == report
