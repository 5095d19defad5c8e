"""What comes into force after a look: slips of the pen and deleted rows never take a running pump's limits away."""

import msgspec
import pytest

from actors.discovery.changes import change_record
from actors.discovery.merging import merge, news, revision
from actors.messages import AlarmAsserted, AlarmReturned
from actors.vocabulary import (
    ControlType,
    FailsafeStrategy,
    InvalidRow,
    InvalidValueError,
    PumpConfig,
    SafetyLimits,
    SiteConfig,
    StationConfig,
    Topology,
)
from tests.unit.actors.storage.ports import START

replace = msgspec.structs.replace


def limits(version: int = 1, *, high: float = 50.0) -> SafetyLimits:
    return SafetyLimits(
        version=version, hard_min_speed_hz=20.0, hard_max_speed_hz=high, max_rate_hz_per_s=2.0
    )


def pump(
    pump_id: str, *, approved: SafetyLimits | None, default_hz: float = 30.0, slot: int = 0
) -> PumpConfig:
    return PumpConfig(
        pump_id=pump_id,
        station_id="s1",
        name=pump_id,
        control_type=ControlType.DIRECT_SPEED,
        default_setpoint_hz=default_hz,
        failsafe_strategy=FailsafeStrategy.DEFAULT_SETPOINT,
        wire_slot=slot,
        limits=approved,
    )


def station(station_id: str, *pumps: PumpConfig, unit: int = 1) -> StationConfig:
    return StationConfig(
        station_id=station_id,
        site_id="north",
        name=station_id,
        timezone="UTC",
        modbus_unit_id=unit,
        pumps=tuple(replace(one, station_id=station_id) for one in pumps),
    )


def site(*stations: StationConfig, site_id: str = "north") -> SiteConfig:
    return SiteConfig(site_id=site_id, name="N", timezone="UTC", stations=stations)


def broken(table: str, key: str) -> InvalidRow:
    return InvalidRow(table=table, key=key, column="c", reason="wrong")


def pumps_of(topology: Topology) -> dict[str, int | None]:
    return {
        one.pump_id: one.limits.version if one.limits else None
        for plant in topology.sites
        for place in plant.stations
        for one in place.pumps
    }


BEFORE = merge(
    None,
    [site(station("s1", pump("p1", approved=limits(3)), pump("p2", approved=limits(1), slot=1)))],
    [],
)


def test_the_first_look_is_taken_as_it_is() -> None:
    """DAT-5: without anything before, a pump without approved limits has none."""
    found = merge(None, [site(station("s1", pump("p1", approved=None)))], [broken("pumps", "p2")])
    assert pumps_of(found) == {"p1": None}
    assert [row.key for row in found.invalid] == ["p2"]


@pytest.mark.parametrize("now", [None, limits(2), limits(1)], ids=["vanished", "an older one", "an oldest"])
def test_approved_limits_stay_in_force_when_their_row_goes(now: SafetyLimits | None) -> None:
    """DAT-5: vanished, invalid or fallen back to an older version: the last approved one stays, with a note."""
    found = merge(BEFORE, [site(station("s1", pump("p1", approved=now, default_hz=60.0)))], [])
    assert pumps_of(found) == {"p1": 3}
    (note,) = found.invalid
    assert (note.table, note.key) == ("pump_safety_limits", "p1")
    assert "version 3" in note.reason
    # A default setpoint that nobody could judge without limits counts as 0 under those that stay.
    assert found.sites[0].stations[0].pumps[0].default_setpoint_hz == 0.0
    again = merge(found, [site(station("s1", pump("p1", approved=now, default_hz=60.0)))], [])
    assert again == found


@pytest.mark.parametrize("now", [limits(3, high=45.0), limits(4)])
def test_newer_limits_come_into_force(now: SafetyLimits) -> None:
    """DAT-5: the highest approved valid version applies, and the notes are gone."""
    found = merge(BEFORE, [site(station("s1", pump("p1", approved=now)))], [])
    assert found.sites[0].stations[0].pumps[0].limits == now
    assert found.invalid == ()


def test_an_invalid_row_stays_as_it_was_a_missing_one_is_gone() -> None:
    """DAT-4: a pump whose row breaks goes on as before; one that is deactivated or deleted stops."""
    found = merge(BEFORE, [site(station("s1", pump("p1", approved=limits(3))))], [broken("pumps", "P2")])
    assert pumps_of(found) == {"p1": 3, "p2": 1}
    assert {(row.table, row.column) for row in found.invalid} == {("pumps", "c"), ("pumps", "*")}
    gone = merge(found, [site(station("s1", pump("p1", approved=limits(3))))], [])
    assert pumps_of(gone) == {"p1": 3}


def test_an_invalid_station_or_site_stays_as_it_was() -> None:
    """DAT-4: the same one and two floors up."""
    assert pumps_of(merge(BEFORE, [site()], [broken("pump_stations", "s1")])) == {"p1": 3, "p2": 1}
    assert pumps_of(merge(BEFORE, [], [broken("sites", "north")])) == {"p1": 3, "p2": 1}
    assert pumps_of(merge(BEFORE, [site()], [])) == {}
    assert merge(BEFORE, [], []).sites == ()


def test_a_pump_that_moved_is_at_one_place_only() -> None:
    """DAT-4: moved while its old station's row broke: it follows its own row."""
    moved = [site(station("s2", pump("p2", approved=limits(1)), unit=2))]
    found = merge(BEFORE, moved, [broken("pump_stations", "s1")])
    places = [(place.station_id, one.pump_id) for place in found.sites[0].stations for one in place.pumps]
    assert sorted(places) == [("s1", "p1"), ("s2", "p2")]
    elsewhere = [site(station("s1", pump("p1", approved=limits(3))), site_id="south")]
    found = merge(BEFORE, elsewhere, [broken("sites", "north")])
    assert [(plant.site_id, len(plant.stations)) for plant in found.sites] == [("north", 0), ("south", 1)]


def test_a_pump_with_parameters_that_its_calculator_refuses_is_an_invalid_row() -> None:
    """CTL-2: parameters are validated; the former ones stay in force, a new pump waits for good ones."""
    bad = replace(pump("p1", approved=limits(3)), control_parameters={"no_such_key": 1})
    found = merge(BEFORE, [site(station("s1", bad, replace(bad, pump_id="p9", wire_slot=9)))], [])
    assert pumps_of(found) == {"p1": 3}
    assert found.sites[0].stations[0].pumps[0].control_parameters == {}
    assert {row.key for row in found.invalid if row.column == "control_parameters"} == {"p1", "p9"}


def test_a_kept_station_keeps_its_unit() -> None:
    """DAT-4: a newcomer cannot take the unit id of a station whose row broke."""
    newcomer = station("s0", pump("p7", approved=limits(1)), unit=1)
    found = merge(BEFORE, [site(newcomer)], [broken("pump_stations", "s1")])
    assert [place.station_id for place in found.sites[0].stations] == ["s1"]
    assert any(row.key == "s0" and row.column == "modbus_unit_id" for row in found.invalid)


def test_the_revision_changes_exactly_with_the_content() -> None:
    """DAT-4: receivers compare it instead of the whole plant."""
    same = merge(BEFORE, BEFORE.sites, [])
    assert (same.revision, same) == (BEFORE.revision, BEFORE)
    other = merge(BEFORE, [replace(BEFORE.sites[0], name="South")], [])
    assert other.revision != BEFORE.revision
    assert revision(BEFORE.sites, [broken("pumps", "p9")]) != BEFORE.revision
    reordered = merge(None, [site(station("s1", *reversed(BEFORE.sites[0].stations[0].pumps)))], [])
    assert reordered.revision == BEFORE.revision


def test_each_broken_row_is_one_alarm_that_returns_when_it_is_mended() -> None:
    """DAT-4: skipped, alarmed, shown with its reason."""
    rows = [broken("pumps", "p1"), replace(broken("pumps", "p1"), column="d"), broken("sites", "x")]
    told = news([broken("pumps", "p0")], rows, START)
    assert {(one.subject, one.text) for one in told if isinstance(one, AlarmAsserted)} == {
        ("pumps/p1", "c: wrong; d: wrong"),
        ("sites/x", "c: wrong"),
    }
    assert [one.subject for one in told if isinstance(one, AlarmReturned)] == ["pumps/p0"]


def no_f(place: StationConfig) -> None:
    """Refuses what begins with an f, and two pumps in slot 9."""
    for name in (place.station_id, *(one.pump_id for one in place.pumps)):
        if name.startswith("f"):
            raise InvalidValueError(f"{name}: no f")
    if [one.wire_slot for one in place.pumps].count(9) > 1:
        raise InvalidValueError("slot 9 twice")


def placed(previous: Topology | None, *stations: StationConfig) -> tuple[Topology, list[tuple[str, str]]]:
    found = merge(previous, [site(*stations)], [], check_station=no_f)
    return found, [(row.table, row.key) for row in found.invalid if row.column == "wire"]


def test_what_has_no_place_on_the_wires_is_skipped_and_nothing_else() -> None:
    """DAT-4, MOD-2: one bad id costs its own row, with the reason; the site's map is made of the rest."""
    good = station("s1", pump("p1", approved=limits()), pump("failsafe", approved=limits(), slot=1))
    bad = station("far", pump("p2", approved=limits()), unit=2)
    twice = station(
        "s3",
        pump("p3", approved=limits(), slot=9),
        pump("p4", approved=limits(), slot=9),
        pump("p5", approved=limits()),
        unit=3,
    )
    found, refused = placed(None, good, bad, twice, station("s4", pump("p6", approved=limits()), unit=4))
    assert set(pumps_of(found)) == {"p1", "p6"}
    assert refused == [("pump_stations", "far"), ("pump_stations", "s3"), ("pumps", "failsafe")]
    assert "no f" in next(row.reason for row in found.invalid if row.key == "far")
    asserted = [one for one in news((), found.invalid, START) if isinstance(one, AlarmAsserted)]
    assert {one.subject for one in asserted} >= {"pump_stations/far", "pump_stations/s3", "pumps/failsafe"}


def test_a_station_that_loses_its_place_stays_as_it_was() -> None:
    """DAT-4: a slip of the pen takes no running station off the wires."""
    before, _ = placed(None, station("s1", pump("p1", approved=limits(), slot=9)))
    slipped = station("s1", pump("p1", approved=limits(), slot=9), pump("p2", approved=limits(), slot=9))
    after, refused = placed(before, slipped)
    assert set(pumps_of(after)) == {"p1"}
    assert refused == [("pump_stations", "s1")]


def test_of_two_that_had_the_unit_before_the_first_keeps_it() -> None:
    """MOD-1: each had unit 1 at its own site; moved to one site, only one of them can."""
    first = station("s1", pump("p1", approved=limits()))
    second = station("s2", pump("p2", approved=limits()))
    before = merge(None, [site(first), site(replace(second, site_id="south"), site_id="south")], [])
    after = merge(before, [site(first, second)], [])
    assert set(pumps_of(after)) == {"p1"}
    assert "s2" in {row.key for row in after.invalid}


def test_a_change_is_told_part_by_part_down_to_the_pumps() -> None:
    """AUD-1, DAT-4: each part with its own values, before and after, and nothing of what stayed."""
    now = START
    first = change_record(None, BEFORE, now=now)
    assert first.before is None
    assert first.after is not None
    assert first.after["parts_changed"] == 4
    assert first.after["PUMP:p1"]["station_id"] == "s1"
    moved = merge(
        BEFORE,
        [
            site(
                station(
                    "s1",
                    pump("p1", approved=limits(3), default_hz=35.0),
                    pump("p2", approved=limits(1), slot=1),
                )
            )
        ],
        [],
    )
    record = change_record(BEFORE, moved, now=now)
    assert record.before == {"PUMP:p1": {"default_setpoint_hz": 30.0}}
    assert record.after == {
        "revision": moved.revision,
        "parts_changed": 1,
        "PUMP:p1": {"default_setpoint_hz": 35.0},
    }
