"""The whole Modbus map: deterministic, stable, collision-free; what only Modbus has of it."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from actors.vocabulary import Mode, Quality, Reason, SiteConfig
from protocols.modbus.image import RegisterImage
from protocols.modbus.points import (
    ACKNOWLEDGE,
    COMMANDS,
    REQUEST_POINTS,
    STATES,
    modbus_points,
    state_bits,
    with_states,
)
from protocols.points import FEEDBACK_POINTS, WIRE_SLOTS, Access, PointValue, site_points
from protocols.points import tags as shared_tags
from protocols.tags import tags
from tests.unit.protocols.plants import north, site, station

P1 = "/north/s1/p1"


@st.composite
def plants(draw: st.DrawFn) -> SiteConfig:
    units = draw(st.lists(st.integers(1, 247), unique=True, max_size=4))
    stations = []
    for unit in units:
        slots = draw(st.lists(st.integers(0, WIRE_SLOTS - 1), unique=True, max_size=4))
        stations.append(station(f"s{unit}", unit, {f"p{unit}-{slot}": slot for slot in slots}))
    return site(*stations)


def places(plant: SiteConfig) -> dict[tuple[str, str, int], tuple[int, int]]:
    """Return unit and address of every place by path, table and unit."""
    return {
        (point.path, place.table, place.unit_id): (place.address, place.count)
        for point in modbus_points(plant)
        for place in point.places
    }


@given(plants())
def test_no_two_points_share_a_cell_and_all_lie_in_the_unit(plant: SiteConfig) -> None:
    """MOD-2: the whole map is collision-free, in every table, with the last slot taken too."""
    cells: Counter[tuple[int, str, int]] = Counter()
    for point in modbus_points(plant):
        for place in point.places:
            assert 0 <= place.address <= place.address + place.count - 1 <= 65_535
            cells.update((place.unit_id, place.table, place.address + n) for n in range(place.count))
    assert not cells or max(cells.values()) == 1
    paths = [point.path for point in modbus_points(plant)]
    assert len(paths) == len(set(paths))
    RegisterImage(modbus_points(plant))


@given(plants(), st.data())
def test_a_pump_added_or_removed_moves_nobody(plant: SiteConfig, data: st.DataObject) -> None:
    """MOD-2: every other address stays, on every table; the order of configuration does not matter."""
    if not plant.stations:
        return
    changed = data.draw(st.sampled_from(plant.stations))
    slots = {pump.pump_id: pump.wire_slot for pump in changed.pumps}
    removed = data.draw(st.sampled_from([*slots, None])) if slots else None
    free = data.draw(st.integers(0, WIRE_SLOTS - 1).filter(lambda slot: slot not in slots.values()))
    after = {"new": free, **{pump_id: slot for pump_id, slot in slots.items() if pump_id != removed}}
    others = [each for each in plant.stations if each.station_id != changed.station_id]
    grown = places(site(station(changed.station_id, changed.modbus_unit_id, after), *others))
    for key, place in places(plant).items():
        gone = removed is not None and f"/{changed.station_id}/{removed}/" in key[0]
        assert grown.get(key) == (None if gone else place), key


@given(plants())
def test_what_was_there_before_keeps_its_place(plant: SiteConfig) -> None:
    """MOD-2: the whole map only adds: each place that the other wires' points had is the first it has now."""
    whole = {point.path: point for point in modbus_points(plant)}
    for point in site_points(plant):
        assert whole[point.path].places[: len(point.places)] == point.places
        assert whole[point.path].access is point.access


def test_the_places_that_integrators_were_promised() -> None:
    """MOD-2: input registers mirror, requests lie together, commands and state bits have their blocks."""
    found = places(north())
    assert found[f"{P1}/setpoint", "input", 1] == (103, 1)
    assert found[f"{P1}/wet_well_level", "input", 1] == (128, 2)
    assert found["/north/s1/scada_heartbeat", "input", 1] == (0, 1)
    assert found["/north/s1/p2/mode_request", "holding", 1] == (190, 1)
    assert found["/north/s1/p2/setpoint_request", "holding", 1] == (191, 1)
    assert found["/north/s1/p2/auto_command", "coil", 1] == (2004, 1)
    assert found["/north/s1/p2/manual_command", "coil", 1] == (2005, 1)
    assert found["/north/s1/p2/acknowledge", "coil", 1] == (2006, 1)
    assert found["/north/s1/acknowledge", "coil", 1] == (2, 1)
    assert found["/north/acknowledge", "coil", 1] == found["/north/acknowledge", "coil", 2] == (3, 1)
    assert found["/north/s2/alarm_active", "discrete", 2] == (2, 1)
    assert found["/north/alarm_unacknowledged", "discrete", 1] == (5, 1)
    assert found["/north/s1/p2/alarm_unacknowledged", "discrete", 1] == (10_047, 1)
    assert found[f"{P1}/is_enabled", "discrete", 1] == (10_000, 1)
    assert found["/north/s1/p2/is_out_of_service", "discrete", 1] == (10_045, 1)
    assert found["/north/s1/p2/good_local_override", "discrete", 1] == (10_048, 1)


def test_only_requests_and_commands_became_writable() -> None:
    """MOD-2, SAF-1: whatever is new on Modbus shows only, but what operators ask for."""
    before = {point.path for point in site_points(north())}
    added = {point.point: point.access for point in modbus_points(north()) if point.path not in before}
    writable = {name for name, access in added.items() if access is not Access.READ}
    assert writable == {*REQUEST_POINTS, *COMMANDS, ACKNOWLEDGE}


def test_state_bits_say_what_their_sources_say() -> None:
    """MOD-2: each bit follows from one published point, and a source that moves moves its bits at once."""
    bits = state_bits(modbus_points(north()))

    def shown(point: str, value: float, quality: Quality = Quality.GOOD) -> dict[str, bool]:
        found = with_states({f"{P1}/{point}": PointValue(value=value, quality=quality)}, bits)
        return {
            path.removeprefix(f"{P1}/"): bool(each.value)
            for path, each in found.items()
            if path != f"{P1}/{point}"
        }

    assert shown("remote_enabled", 1) == {"is_enabled": True}
    assert shown("reason", Reason.EMERGENCY_STOP) == {"is_stopped": True}
    assert shown("reason", Reason.PLAN) == {"is_stopped": False}
    assert shown("fault_code", 7) == {"is_faulty": True, "good_fault_code": True}
    assert shown("fault_code", 0, Quality.BAD) == {"is_faulty": False, "good_fault_code": False}
    assert shown("setpoint_quality", Quality.UNCERTAIN) == {"is_setpoint_good": False, "is_failsafe": True}
    modes = ("is_auto", "is_manual", "is_mode_local", "is_out_of_service", "auto_command", "manual_command")
    assert shown("mode", Mode.MANUAL) == dict.fromkeys(modes, False) | {
        "is_manual": True,
        "manual_command": True,
    }
    assert shown("mode", 0, Quality.BAD) == dict.fromkeys(modes, False)


def test_every_state_bit_has_a_source_on_the_wire() -> None:
    """MOD-2: no bit that nobody ever moves; every feedback point tells whether it can be believed."""
    sources = {point.point for point in site_points(north())}
    assert {state.source for state in STATES} <= sources
    assert {f"good_{point}" for point in FEEDBACK_POINTS} <= {state.point for state in STATES}


def test_the_rows_name_every_place_once_and_keep_those_of_both_wires() -> None:
    """MOD-2: `calejo tags` tells the whole map; an input register is read-only there though its point is not."""
    rows = tags(north())
    shared = shared_tags(north())
    assert all(row in rows for row in shared)
    told = {
        (row["path"], row["table"], row["unit_id"]): (row["address"], row["count"])
        for row in rows
        if row["protocol"] == "modbus"
    }
    assert told == places(north())
    mirrored = [row for row in rows if row["table"] in ("input", "discrete")]
    assert {row["access"] for row in mirrored} == {"r"}
    owners = [(row["station_id"], row["pump_id"]) for row in rows]
    blocks = [owner for index, owner in enumerate(owners) if index == 0 or owners[index - 1] != owner]
    assert len(blocks) == len(set(blocks)), "the rows of one owner stand together"
