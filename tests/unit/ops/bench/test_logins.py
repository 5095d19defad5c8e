"""The flood of logins: what makes a run good, and that the flood is one, against an API in this process."""

from __future__ import annotations

import multiprocessing
import threading
from pathlib import Path

from actors.publisher.latency import summary_of
from ops.bench.logins import Flooded, Seen, flood, table
from ops.bench.report import StopTime
from tests.unit.api.served import served, until


def seen(to_wire_ms: float, stop_ms: float) -> Seen:
    stop = StopTime(way="REST", wire="Modbus", pumps=7, summary=summary_of([round(stop_ms * 1e6)]))
    return Seen(to_wire_p99_ms={"modbus": to_wire_ms}, stops=(stop,))


def test_a_flood_is_good_if_it_is_limited_and_stops_go_through() -> None:
    """EST-1, EST-4: every stop within a second, and somebody was told to wait; the figures stand side by side."""
    before, answers = seen(8.0, 20.0), {"401": 40, "429": 900}
    good = Flooded(before=before, during=seen(9.5, 999.0), answers=answers, per_s=15.0)
    assert good.is_good
    shown = table(good)
    assert "401: 40, 429: 900" in shown
    assert "8.0" in shown
    assert "9.5" in shown
    assert "999.0" in shown
    assert "NOT GOOD" not in shown
    slow = Flooded(before=before, during=seen(9.5, 1_001.0), answers=answers, per_s=15.0)
    unlimited = Flooded(before=before, during=seen(9.5, 20.0), answers={"401": 940}, per_s=15.0)
    unseen = Flooded(before=before, during=Seen(to_wire_p99_ms={}, stops=()), answers=answers, per_s=1.0)
    for bad in (slow, unlimited, unseen):
        assert not bad.is_good
        assert "NOT GOOD" in table(bad)


def test_the_flood_tries_logins_until_it_is_told_to_end(tmp_path: Path) -> None:
    """SEC-1: by several connections and addresses of this machine; each answer is counted."""
    own, others = multiprocessing.get_context("spawn").Pipe()
    with served(tmp_path) as api:
        base = f"http://127.0.0.1:{api.rest}"
        thread = threading.Thread(target=flood, args=(base, 4, 2, others))
        thread.start()
        try:
            until(lambda: api.desk.log.counts.get(("LOGIN", "refused"), 0) >= 8)
        finally:
            own.send("enough")
            thread.join(30)
        answers, per_s = own.recv()
        assert set(answers) <= {"401", "429"}
        assert sum(answers.values()) >= 8
        assert per_s > 0.0
        sources = {
            each.source_address.rpartition(":")[0]
            for each in api.tree.records
            if getattr(each, "event_type", "") == "LOGIN"
        }
        assert sources == {"127.0.0.2", "127.0.0.3"}
