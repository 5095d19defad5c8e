"""The map: deterministic, stable, collision-free, and told as `calejo tags` tells it."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.vocabulary import InvalidValueError, SiteConfig
from protocols.points import PUMP_POINTS, WIRE_SLOTS, Access, pump_base, site_points, tags
from tests.unit.protocols.plants import north, site, station

KEYS = [
    "path", "site_id", "station_id", "pump_id", "point", "protocol", "unit_id", "table", "address", "count", "type",
    "scale", "unit", "access", "node_id", "description",
]  # fmt: skip


@st.composite
def plants(draw: st.DrawFn) -> SiteConfig:
    units = draw(st.lists(st.integers(1, 247), unique=True, max_size=5))
    stations = []
    for unit in units:
        slots = draw(st.lists(st.integers(0, WIRE_SLOTS - 1), unique=True, max_size=5))
        stations.append(station(f"s{unit}", unit, {f"p{unit}-{slot}": slot for slot in slots}))
    return site(*stations)


@given(plants())
def test_no_two_points_share_an_address_a_path_or_a_node(plant: SiteConfig) -> None:
    """MOD-2: the map is collision-free on both wires."""
    cells: Counter[tuple[int, str, int]] = Counter()
    for point in site_points(plant):
        for place in point.places:
            assert 0 <= place.address <= place.address + place.count - 1 <= 65_535
            cells.update((place.unit_id, place.table, place.address + n) for n in range(place.count))
    assert not cells or max(cells.values()) == 1
    assert all(count == 1 for count in Counter(point.path for point in site_points(plant)).values())
    assert all(count == 1 for count in Counter(point.node_id for point in site_points(plant)).values())


@given(plants(), st.data())
def test_adding_a_pump_changes_no_existing_row(plant: SiteConfig, data: st.DataObject) -> None:
    """MOD-2: stable when pumps are added; the order of configuration does not matter."""
    if not plant.stations:
        return
    grown_at = data.draw(st.sampled_from(plant.stations))
    taken = {pump.pump_id: pump.wire_slot for pump in grown_at.pumps}
    slot = data.draw(st.integers(0, WIRE_SLOTS - 1).filter(lambda slot: slot not in taken.values()))
    grown = station(grown_at.station_id, grown_at.modbus_unit_id, {"new": slot, **taken})
    others = [other for other in plant.stations if other.station_id != grown.station_id]
    after = tags(site(grown, *others))
    before = tags(plant)
    assert [row for row in after if row["pump_id"] != "new"] == before
    # Each point on both wires, and what an operator asks for on OPC UA.
    assert len(after) == len(before) + 2 * len(PUMP_POINTS) + 1


def test_the_map_of_a_small_site_row_by_row() -> None:
    """MOD-2: the places that integrators were promised."""
    table = {
        (row["path"], row["unit_id"]): (row["table"], row["address"], row["count"], row["type"], row["scale"])
        for row in tags(north())
        if row["protocol"] == "modbus"
    }
    assert table["/north/s1/scada_heartbeat", 1] == ("holding", 0, 1, "uint16", 1.0)
    assert table["/north/s1/p1/sequence", 1] == ("holding", 100, 1, "uint16", 1.0)
    assert table["/north/s1/p1/setpoint", 1] == ("holding", 103, 1, "uint16", 0.01)
    assert table["/north/s1/p2/epoch", 1] == ("holding", 156, 2, "uint32", 1.0)
    assert table["/north/s1/p2/release_id", 1] == ("holding", 158, 2, "uint32", 1.0)
    assert table["/north/s1/p2/sequence_end", 1] == ("holding", 161, 1, "uint16", 1.0)
    assert table["/north/s2/p3/wet_well_level", 2] == ("holding", 128, 2, "int32", 0.001)
    assert table["/north/s2/p3/fault_code", 2] == ("holding", 132, 1, "uint16", 1.0)
    assert table["/north/s1/emergency_stop", 1] == ("coil", 0, 1, "bool", 1.0)
    assert table["/north/emergency_stop", 1] == ("coil", 1, 1, "bool", 1.0)
    assert table["/north/emergency_stop", 2] == ("coil", 1, 1, "bool", 1.0)
    assert table["/north/s1/p2/emergency_stop", 1] == ("coil", 101, 1, "bool", 1.0)
    assert table["/north/s2/failsafe", 2] == ("discrete", 0, 1, "bool", 1.0)
    assert table["/north/failsafe", 2] == ("discrete", 1, 1, "bool", 1.0)


def test_a_handshake_block_is_contiguous_and_begins_and_ends_with_the_sequence() -> None:
    """WDG-4: one read returns the block whole."""
    block = [
        (place.address, place.count, point.point)
        for point in site_points(north())
        if point.pump_id == "p1"
        for place in point.places
        if place.table == "holding" and place.address < 100 + 12
    ]
    covered = [address + n for address, count, _ in block for n in range(count)]
    assert covered == list(range(100, 112))
    assert (block[0][2], block[-1][2]) == ("sequence", "sequence_end")


def test_every_tag_has_every_key_and_null_where_it_has_nothing() -> None:
    """MOD-2: one list for both protocols."""
    rows = tags(north())
    assert all(list(row) == KEYS for row in rows)
    opcua = [row for row in rows if row["protocol"] == "opcua"]
    assert all(row["unit_id"] is row["table"] is row["address"] is row["count"] is None for row in opcua)
    assert {row["type"] for row in opcua} == {"Boolean", "Double", "UInt16", "UInt32"}
    modbus = [row for row in rows if row["protocol"] == "modbus"]
    assert all(row["node_id"] is None for row in modbus)
    assert next(row for row in opcua if row["path"] == "/north/s1/p1/setpoint")["node_id"] == (
        "ns=2;s=/north/s1/p1/setpoint"
    )


def test_only_what_the_plc_and_scada_write_is_writable() -> None:
    """MOD-2: setpoints and status are read-only on every wire."""
    writable = {point.point for point in site_points(north()) if point.access is not Access.READ}
    assert writable == {
        "local_override", "plc_heartbeat", "setpoint_echo", "actual_speed", "actual_power", "actual_flow",
        "wet_well_level", "high_float", "running", "fault_code", "emergency_stop", "scada_heartbeat",
    }  # fmt: skip


def test_the_last_slot_fits_and_the_next_is_refused() -> None:
    """MOD-2: an address space that is full says so."""
    assert pump_base(WIRE_SLOTS - 1) + 49 <= 65_535
    for slot in (-1, WIRE_SLOTS):
        with pytest.raises(InvalidValueError, match=f"wire_slot {slot}"):
            site_points(site(station("s1", 1, {"p1": slot})))


@pytest.mark.parametrize(
    ("plant", "complaint"),
    [
        (site(station("s1", 0, {})), "modbus_unit_id 0"),
        (site(station("s1", 248, {})), "modbus_unit_id 248"),
        (site(station("s1", 7, {}), station("s2", 7, {})), "both have modbus_unit_id 7"),
        (site(station("s1", 1, {"p1": 3, "p2": 3})), "both have wire_slot 3"),
        (site(station("failsafe", 1, {})), "name of a site point"),
        (site(station("s1", 1, {"scada_heartbeat": 0})), "name of a station point"),
    ],
)
def test_a_plant_that_cannot_be_mapped_is_refused_by_name(plant: SiteConfig, complaint: str) -> None:
    """MOD-2: no silent collision."""
    with pytest.raises(InvalidValueError, match=complaint):
        site_points(plant)
