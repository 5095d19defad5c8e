"""The printed table is the kernel's own order with the station's values (SAF-2)."""

from __future__ import annotations

import msgspec

from actors.safety import rules
from actors.safety.priorities import Priorities, PriorityRow, priorities
from actors.vocabulary import FailsafeStrategy, Rule, StationConfig
from tests.unit.actors.safety.timeline import limits, pump, station


def row(table: Priorities, rule: Rule) -> PriorityRow:
    [found] = [one for one in table.rows if one.rule is rule]
    return found


def test_the_table_is_the_order_by_which_the_kernel_decides() -> None:
    """SAF-2: rank by rank, swapped where the station is."""
    for swapped in (False, True):
        config = station(pump(of=limits()), dry_run_outranks_high_level=not swapped)
        table = priorities(config)
        order = rules.order_for(config)
        assert [one.rule for one in table.rows] == [one.rule for one in order]
        assert [one.rank for one in table.rows] == list(range(1, len(order) + 1))
        assert table.swapped is swapped
        assert (row(table, Rule.DRY_RUN).rank > row(table, Rule.HIGH_LEVEL).rank) is swapped


def test_every_number_of_the_specification_is_there() -> None:
    """SAF-2: 1 to 11, none missing."""
    numbers = {one.number for one in priorities(station(pump(of=limits()))).rows}
    assert numbers - {"-"} == {str(number) for number in range(1, 12)}


def test_the_values_are_the_stations_own() -> None:
    """SAF-2: limits, thresholds, responses and setpoints, as the kernel takes them."""
    of = limits(dry_run_m=0.4, dry_run_reset_m=0.6, max_starts_per_hour=4, min_rest_s=60.0, max_power_kw=9.0)
    config = station(
        pump(
            "a",
            of,
            emergency_stop_setpoint_hz=12.0,
            default_setpoint_hz=33.0,
            failsafe_strategy=FailsafeStrategy.HOLD_LAST,
            rated_power_kw=7.5,
        ),
        has_high_float=True,
        max_pumps_running=1,
        soft_stop_hz_per_s=0.5,
    )
    table = priorities(config)
    assert row(table, Rule.PROTECTION_TIMERS).pumps["a"] == {
        "max_starts_per_hour": 4,
        "min_rest_s": 60.0,
        "min_run_s": None,
        "max_run_s": None,
    }
    assert row(table, Rule.DRY_RUN).pumps["a"] == {"level_dry_run_m": 0.4, "level_dry_run_reset_m": 0.6}
    # Outside the band it counts as 0.
    assert row(table, Rule.EMERGENCY_STOP).pumps["a"] == {"emergency_stop_setpoint_hz": 0.0}
    assert row(table, Rule.FAILSAFE).pumps["a"] == {
        "failsafe_strategy": "HOLD_LAST",
        "default_setpoint_hz": 33.0,
        "failsafe_hold_s": 900.0,
    }
    assert row(table, Rule.POWER_CAP).pumps["a"] == {
        "max_power_kw": 9.0,
        "rated_power_kw": 7.5,
        "rated_speed_hz": None,
    }
    assert row(table, Rule.HIGH_LEVEL).station["has_high_float"] is True
    assert row(table, Rule.MAX_RUNNING).station == {"max_pumps_running": 1}
    assert row(table, Rule.MAX_RUNNING).decided == "station"
    assert row(table, Rule.RATE).station == {"soft_stop_hz_per_s": 0.5}


def test_every_limit_has_a_place_in_the_table() -> None:
    """SAF-2: no limit is enforced, or ignored, in silence."""
    told = {
        name
        for one in priorities(station(pump(of=limits()))).rows
        for values in one.pumps.values()
        for name in values
    }
    meta = {"version", "set_by", "approved_by", "approved_at"}
    assert {field.name for field in msgspec.structs.fields(limits())} - meta <= told


def test_every_setting_of_a_station_has_a_place_in_the_table() -> None:
    """SAF-2: what the station configures for the rules is told with them."""
    told = {name for one in priorities(station(pump(of=limits()))).rows for name in one.station}
    described = {"station_id", "site_id", "name", "timezone", "modbus_unit_id", "level_datum", "pumps"}
    swap = {"dry_run_outranks_high_level"}
    assert {field.name for field in msgspec.structs.fields(StationConfig)} - described - swap == told


def test_pumps_without_usable_limits_are_named() -> None:
    """DAT-5: whatever the table says, they are never driven."""
    table = priorities(station(pump("a", limits()), pump("b", None), pump("c", limits(band_hz=(50.0, 20.0)))))
    assert table.never_driven == ("b", "c")
    assert row(table, Rule.SPEED_BAND).pumps["c"] == {"hard_min_speed_hz": None, "hard_max_speed_hz": None}
