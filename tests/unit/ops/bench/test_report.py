"""The report: goal: ratios beside the right base, tables that hold every figure, JSON that reads back."""

from __future__ import annotations

import msgspec
import pytest

from actors.messages import LatencySummary
from actors.vocabulary import Address
from ops.bench.processes import Memory
from ops.bench.recovery import Recovered
from ops.bench.report import (
    BARE,
    Births,
    Latency,
    Machine,
    Report,
    Start,
    beside_bare,
    beside_cold,
    memory_of,
    recoveries_of,
    tables,
)

MACHINE = Machine(
    date_utc="2026-01-01 00:00 UTC", commit="abc", processor="CPU", cores=2, memory_mib=4096, load_1_min=0.5,
    kernel="6.1", python="3.12.1", versions={"ray": "2.60.0"},
)  # fmt: skip


def latency(where: str, hz: float, p50_ms: float, p99_ms: float) -> Latency:
    summary = LatencySummary(count=140, p50_ms=p50_ms, p99_ms=p99_ms, max_ms=2 * p99_ms)
    return Latency(where=where, hz=hz, pumps=7, summary=summary)


def killed(label: str, answers_s: float, serves_s: float | None = None) -> Recovered:
    return Recovered(label=label, address=Address(f"/{label}"), answers_s=answers_s, serves_s=serves_s)


def test_latencies_stand_beside_bare_ray_at_the_same_rate() -> None:
    """OPS-5: 1 Hz beside 1 Hz, 10 Hz beside 10 Hz; bare Ray has no ratio to itself."""
    modbus_slow, bare_slow, modbus_fast, bare_fast = beside_bare(
        [
            latency("Calejo, modbus", 1, 10, 30),
            latency(BARE, 1, 5, 10),
            latency("Calejo, modbus", 10, 12, 60),
            latency(BARE, 10, 3, 20),
        ]
    )
    assert (modbus_slow.ratio_p50, modbus_slow.ratio_p99) == (2, 3)
    assert (modbus_fast.ratio_p50, modbus_fast.ratio_p99) == (4, 3)
    assert bare_slow.ratio_p50 is bare_fast.ratio_p50 is None


def test_without_samples_there_is_no_ratio() -> None:
    """OPS-5: an endpoint that gave none, or a rate that bare Ray lacks, shows a dash and no invention."""
    silent = Latency(where="Calejo, opcua", hz=1, pumps=7, summary=None)
    alone = latency("Calejo, modbus", 5, 1, 2)
    assert beside_bare([silent, latency(BARE, 1, 5, 10), alone])[::2] == (silent, alone)


def test_recoveries_are_one_line_a_kind_with_median_and_worst() -> None:
    """OPS-5: three kills of a role are its line; what it serves is told where it was seen."""
    bare, safety, plan = recoveries_of(
        [killed("safety", 0.4, 1.0), killed("plan", 0.8), killed("safety", 0.6), killed("safety", 0.5, 2.0)],
        [0.2, 0.4, 0.3],
    )
    assert (bare.what, bare.kills, bare.answers_p50_s, bare.answers_max_s) == ("bare Ray actor", 3, 0.3, 0.4)
    assert (safety.kills, safety.answers_p50_s, safety.answers_max_s) == (3, 0.5, 0.6)
    assert (safety.serves_p50_s, safety.serves_max_s) == (1.5, 2.0)
    assert safety.ratio_p50 == pytest.approx(0.5 / 0.3)
    assert (plan.serves_p50_s, plan.serves_max_s) == (None, None)


def test_memory_is_the_mean_of_a_kind() -> None:
    """OPS-5: seven pumps are one line; the ratio is of private memory."""
    seen = [("pump", Memory(private_mib=40, rss_mib=80)), ("pump", Memory(private_mib=50, rss_mib=90))]
    bare, pump = memory_of(seen, [Memory(private_mib=30, rss_mib=70)])
    assert (bare.what, bare.ratio_private) == ("bare Ray actor", None)
    assert (pump.processes, pump.private_mib, pump.rss_mib, pump.ratio_private) == (2, 45, 85, 1.5)


def test_everything_measured_is_in_the_tables_and_in_the_json() -> None:
    """OPS-5: a person and a program read the same figures, what fell short included."""
    report = Report(
        machine=MACHINE,
        seconds_per_rate=20,
        recovery_resolution_s=0.005,
        starts=(Start(what="Calejo's demo", processes=25, took_s=12.34),),
        latencies=beside_bare(
            [latency("Calejo, modbus", 1, 10.5, 31.5), latency(BARE, 1, 5, 10),
             Latency(where="Calejo, opcua", hz=1, pumps=7, summary=None)]
        ),
        recoveries=recoveries_of([killed("safety", 0.43, 0.91)], [0.2]),
        memory=memory_of([("pump", Memory(private_mib=41.5, rss_mib=80.25))], []),
        shortfalls=("/sites/demo was not back after its kill (site supervisor)",),
    )  # fmt: skip
    text = tables(report)
    for figure in (
        "abc",
        "12.34",
        "10.5",
        "31.5",
        "2.1",
        "0.43",
        "0.91",
        "41.5",
        "was not back",
        "ray 2.60.0",
    ):
        assert figure in text, figure
    (silent,) = [line for line in text.splitlines() if line.startswith("Calejo, opcua")]
    assert silent.split()[2:] == ["7", "1", *["-"] * 7]
    assert msgspec.json.decode(msgspec.json.encode(report), type=Report) == report


def test_a_table_is_aligned() -> None:
    """OPS-5: a heading, its columns, a rule and lines that all end in the same place."""
    report = Report(
        machine=MACHINE, seconds_per_rate=1, recovery_resolution_s=0.005,
        starts=(Start(what="short", processes=1, took_s=1), Start(what="much longer", processes=25, took_s=100)),
        latencies=(), recoveries=(), memory=(), shortfalls=(),
    )  # fmt: skip
    block = tables(report).split("\n\n")[1].splitlines()
    assert len({len(line) for line in block[1:]}) == 1
    assert "Fell short" not in tables(report)


def test_forked_stands_beside_cold_and_nothing_is_made_up() -> None:
    """OPS-5: a figure that one side lacks is a dash; percentiles are samples that were seen."""
    forked = Births(
        start_s=7.5,
        memory_begin=[("pump", Memory(private_mib=16, rss_mib=80))],
        memory_end=[
            ("pump", Memory(private_mib=17, rss_mib=80)),
            ("pump", Memory(private_mib=19, rss_mib=80)),
        ],
        recovered=[killed("pump", each) for each in (0.05, 0.09, 0.07)],
        bare_idle=0.004,
    )
    forked.note_processor([("pump", 1), ("pump", 2)], lambda pid: 0.005 * pid, 0.3)
    cold = Births(start_s=15.0, recovered=[killed("pump", 0.4)])
    rows = {each.what: each for each in beside_cold(forked, cold, seconds=20)}
    assert (rows["demo, command to ready"].forked, rows["demo, command to ready"].cold) == (7.5, 15.0)
    assert rows["pump, private, settled"].forked == 16
    assert (
        rows["pump, private, after 20 s at 1 Hz"].forked,
        rows["pump, private, after 20 s at 1 Hz"].cold,
    ) == (18, None)
    assert rows["pump, kill to answer, p50"].forked == pytest.approx(70)
    assert rows["pump, kill to answer, worst"].forked == pytest.approx(90)
    assert rows["pump, at 1 Hz"].forked == pytest.approx(0.75)
    report = Report(
        machine=MACHINE, seconds_per_rate=20, recovery_resolution_s=0.005, starts=(), latencies=(), recoveries=(),
        memory=(), shortfalls=(), births=tuple(rows.values()),
    )  # fmt: skip
    lines = {line.split("  ")[0]: line.split() for line in tables(report).splitlines()}
    assert lines["demo, command to ready"][-4:] == ["s", "7.50", "15.0", "0.5"]
    assert lines["pump, at 1 Hz"][-2:] == ["-", "-"]
