"""The Modbus part of the bench, with tiny numbers: both servers answer the same, and the tables hold what was seen."""

from __future__ import annotations

from ops.bench.modbus import BARE, CLIENTS, OURS, measure
from ops.bench.modbus_servers import age_ms, stamp
from ops.bench.report import modbus_tables


def test_both_servers_are_measured_side_by_side() -> None:
    """MOD-5, OPS-5: requests and times of both by 1, 10 and 50 clients, and how soon a publish is seen."""
    figures = measure(seconds=0.4)
    assert [(each.server, each.clients) for each in figures.rates] == [
        (name, clients) for clients in CLIENTS for name in (OURS, BARE)
    ]
    for each in figures.rates:
        assert each.requests_per_s > 0.0
        assert 0.0 < each.p50_ms <= each.p99_ms
        assert (each.ratio is None) == (each.server == BARE)
    assert [each.server for each in figures.seen] == [OURS, BARE]
    assert all(0.0 <= each.p50_ms <= each.p99_ms < 10_000.0 for each in figures.seen)
    rates, seen, large = modbus_tables(figures)
    assert "Modbus, 1000 pumps: listens after " in large
    assert figures.large.start_s > 0.0
    assert figures.large.rss_mib > 10.0
    assert f"{OURS}, 50 clients" in rates
    assert BARE in seen
    assert modbus_tables(None) == []


def test_a_stamp_is_young_when_it_is_made_and_survives_its_overflow() -> None:
    """OPS-5: the clock that both processes share."""
    assert 0.0 <= age_ms(stamp()) < 1000.0
    assert 999.0 <= age_ms((stamp() - 10_000) % (1 << 32)) < 2000.0
