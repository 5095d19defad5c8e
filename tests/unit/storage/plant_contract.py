"""The plant on every database: ids, slots, limits, what counts and what the database refuses."""

import pytest

from storage.engine import Access
from storage.readers import DatabasePlanReader
from tests.unit.storage.contract import NOON, Place, counted_statements, feedback, moment


class PlantContract:
    """Runs on each engine; a subclass brings the fixture `place`."""

    def test_the_plant_is_read_whole(self, place: Place) -> None:
        """DAT-4: active stations and pumps with approved limits, ordered by slot, defaults filled."""
        place.seed()
        sites, invalid = place.topology()
        assert invalid == {}
        (station,) = sites[0].stations
        assert [(pump.pump_id, pump.wire_slot) for pump in station.pumps] == [("p1", 0), ("p2", 1)]
        limits = station.pumps[0].limits
        assert limits is not None
        assert (limits.hard_min_speed_hz, limits.approved_by) == (20.0, "bert")
        assert (station.protective_level_age_s, station.timezone) == (5.0, "UTC")
        place.execute("UPDATE pumps SET active = ? WHERE pump_id = 'p2'", False)
        sites, _ = place.topology()
        assert [pump.pump_id for pump in sites[0].stations[0].pumps] == ["p1"]

    def test_ids_are_ids_in_any_case(self, place: Place) -> None:
        """DAT-1: an id is what it is after lower-casing, also in references and plans."""
        place.execute("INSERT INTO sites (site_id, name) VALUES ('NORTH', 'North')")
        place.execute(
            "INSERT INTO pump_stations (station_id, site_id, name, modbus_unit_id)"
            " VALUES ('Station_1', 'North', 'One', 1)"
        )
        place.pump("PUMP_1", station_id="STATION_1")
        place.envelope("pump_1")
        place.limits("Pump_1")
        place.insert(
            "pump_plans",
            {
                "station_id": "STATION_1",
                "pump_id": "PUMP_1",
                "interval_start": "2026-06-01T12:00:00+00:00",
                "interval_end": "2026-06-01T13:00:00+00:00",
                "suggested_speed_hz": 35.0,
                "plan_version": 1,
            },
        )
        sites, invalid = place.topology()
        assert invalid == {}
        pump = sites[0].stations[0].pumps[0]
        assert (sites[0].site_id, pump.station_id, pump.pump_id) == ("north", "station_1", "pump_1")
        assert pump.limits is not None
        rows = place.run(
            Access.READ,
            lambda database: DatabasePlanReader(database).plans("station_1", start=NOON, end=moment(1)),
        )
        assert [(row.station_id, row.pump_id) for row in rows] == [("station_1", "pump_1")]
        assert place.write(feedback(1, pump_id="pump_1")) == {}

    def test_slots_are_given_once_and_for_ever(self, place: Place) -> None:
        """MOD-2: a slot is never reused, whatever an INSERT says, also when a pump moves or goes."""
        place.seed()
        place.execute(
            "INSERT INTO pump_stations (station_id, site_id, name, modbus_unit_id) VALUES ('s2', 'north', 'Two', 2)"
        )
        place.pump("p3", wire_slot=0)
        place.execute("DELETE FROM pumps WHERE pump_id = 'p3'")
        place.pump("p4", wire_slot=77)
        place.execute("UPDATE pumps SET station_id = 's2' WHERE pump_id = 'p4'")
        place.execute("UPDATE pumps SET station_id = 's1' WHERE pump_id = 'p4'")
        assert place.execute("SELECT pump_id, wire_slot FROM pumps ORDER BY pump_id") == [
            ("p1", 0),
            ("p2", 1),
            ("p4", 4),
        ]
        with pytest.raises(place.refusal, match="given by the database"):
            place.execute("UPDATE pumps SET wire_slot = 9 WHERE pump_id = 'p1'")
        with pytest.raises(place.refusal, match="counts up"):
            place.execute("UPDATE pump_stations SET next_wire_slot = 0 WHERE station_id = 's1'")

    def test_limits_that_are_not_approved_or_not_commissioned_count_for_nothing(self, place: Place) -> None:
        """DAT-5: only the highest approved version inside the commissioning envelope applies."""
        place.seed()
        place.limits("p1", version=2, hard_max_speed_hz=45.0)
        place.limits("p1", version=3, hard_max_speed_hz=40.0, approved_by=None)
        place.limits("p2", version=2, hard_max_speed_hz=53.0)
        place.pump("p3")
        place.limits("p3")
        place.pump("p4")
        place.envelope("p4")
        sites, invalid = place.topology()
        versions = {pump.pump_id: pump.limits and pump.limits.version for pump in sites[0].stations[0].pumps}
        assert versions == {"p1": 2, "p2": 1, "p3": None, "p4": None}
        assert set(invalid) == {
            ("pump_safety_limits", "p2/2", "hard_max_speed_hz"),
            ("pump_commissioning_envelopes", "p3", "pump_id"),
            ("pump_safety_limits", "p4", "approved_by"),
        }
        assert "envelope" in invalid["pump_safety_limits", "p2/2", "hard_max_speed_hz"]

    @pytest.mark.parametrize("approver", ["anna", "ANNA", " anna ", " "])
    def test_nobody_approves_their_own_limits(self, place: Place, approver: str) -> None:
        """SAF-6: the second person is another one, also for whoever writes the table directly."""
        place.seed()
        with pytest.raises(place.refusal, match="approved_by_another"):
            place.limits("p1", version=2, approved_by=approver)

    @pytest.mark.parametrize(
        "wrong",
        [
            {"hard_min_speed_hz": 50.0},
            {"hard_min_speed_hz": 0.0},
            {"hard_max_speed_hz": float("nan")},
            {"hard_max_speed_hz": float("inf")},
            {"max_power_kw": float("inf")},
            {"max_rate_hz_per_s": 0.0},
            {"max_rate_hz_per_s": None},
            {"level_min_m": 1.0, "level_max_m": 1.0},
            {"level_dry_run_m": 1.0, "level_dry_run_reset_m": 1.2, "level_min_m": 0.9},
            {"level_dry_run_m": 1.0, "level_dry_run_reset_m": 0.9},
            {"level_dry_run_m": 1.0},
            {"level_emergency_high_m": 2.0, "level_emergency_high_reset_m": 2.1},
            {"level_emergency_high_m": 2.0},
            {"level_dry_run_m": 1.0, "level_dry_run_reset_m": 1.1, "level_emergency_high_m": 0.5,
             "level_emergency_high_reset_m": 0.4},
            {"min_flow_m3h": 5.0, "max_flow_m3h": 5.0},
            {"min_run_s": 60.0, "max_run_s": 30.0},
            {"max_starts_per_hour": 0},
            {"set_by": " "},
        ],
        ids=str,
    )  # fmt: skip
    def test_impossible_limits_are_refused_by_the_database(
        self, place: Place, wrong: dict[str, object]
    ) -> None:
        """DAT-1: order of levels, resets on the right side, finite and present values are part of the schema."""
        place.seed()
        with pytest.raises(place.refusal):
            place.limits("p1", **{"version": 2, **wrong})

    def test_a_soft_stop_is_a_rate_or_nothing(self, place: Place) -> None:
        """SAF-2.10, DAT-1: absent for every station of before; what is no rate is refused by name."""
        place.seed()
        assert [station.soft_stop_hz_per_s for station in place.topology()[0][0].stations] == [None]
        place.execute("UPDATE pump_stations SET soft_stop_hz_per_s = 0.5 WHERE station_id = 's1'")
        assert [station.soft_stop_hz_per_s for station in place.topology()[0][0].stations] == [0.5]
        for wrong in ("0", "-1", "1e300"):
            with pytest.raises(place.refusal, match="soft_stop_hz_per_s"):
                place.execute(
                    f"UPDATE pump_stations SET soft_stop_hz_per_s = {wrong} WHERE station_id = 's1'"
                )

    def test_a_level_pump_needs_its_levels(self, place: Place) -> None:
        """DAT-1: a NULL that the control type needs (a NaN on SQLite is one) is refused by name."""
        place.seed()
        place.pump("p3", control_type="LEVEL_CONTROLLED")
        place.envelope("p3")
        place.limits("p3", level_dry_run_m=0.4, level_dry_run_reset_m=0.6)
        place.pump("p4", control_type="POWER_CONTROLLED", rated_power_kw=10.0)
        sites, invalid = place.topology()
        assert {pump.pump_id for pump in sites[0].stations[0].pumps} == {"p1", "p2", "p3"}
        assert ("pump_safety_limits", "p3/1", "level_min_m") in invalid
        assert ("pumps", "p4", "rated_speed_hz") in invalid

    def test_setpoints_outside_the_band_count_as_zero(self, place: Place) -> None:
        """DAT-1: default and emergency setpoints are 0 or inside the band, else they count as 0."""
        place.seed()
        place.execute(
            "UPDATE pumps SET default_setpoint_hz = 10, emergency_stop_setpoint_hz = 60 WHERE pump_id = 'p1'"
        )
        sites, invalid = place.topology()
        pump = sites[0].stations[0].pumps[0]
        assert (pump.default_setpoint_hz, pump.emergency_stop_setpoint_hz) == (0.0, 0.0)
        assert {("pumps", "p1", "default_setpoint_hz"), ("pumps", "p1", "emergency_stop_setpoint_hz")} == set(
            invalid
        )

    def test_a_thousand_pumps_are_read_by_as_few_statements_as_one(self, place: Place) -> None:
        """DAT-4: what discovery costs does not grow by a question for each pump."""
        with counted_statements() as of_none:
            place.topology()
        place.execute("INSERT INTO sites (site_id, name) VALUES ('north', 'North')")
        count = "WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < {last}) "
        place.execute(
            "INSERT INTO pump_stations (station_id, site_id, name, modbus_unit_id) "
            + count.format(last=199)
            + "SELECT 's' || i, 'north', 'S', i + 1 FROM n"
        )
        place.execute(
            "INSERT INTO pumps (pump_id, station_id, name, control_type, default_setpoint_hz) "
            + count.format(last=999)
            + "SELECT 'p' || i, 's' || (i / 5), 'P', 'DIRECT_SPEED', 30 FROM n"
        )
        place.execute(
            "INSERT INTO pump_commissioning_envelopes (pump_id, min_speed_hz, max_speed_hz, commissioned_by) "
            "SELECT pump_id, 18, 52, 'anna' FROM pumps"
        )
        place.execute(
            "INSERT INTO pump_safety_limits (pump_id, version, hard_min_speed_hz, hard_max_speed_hz,"
            " max_rate_hz_per_s, set_by, approved_by) SELECT pump_id, 1, 20, 50, 2, 'anna', 'bert' FROM pumps"
        )
        with counted_statements() as of_a_thousand:
            sites, invalid = place.topology()
        assert of_none
        assert of_a_thousand == of_none
        assert invalid == {}
        pumps = [pump for station in sites[0].stations for pump in station.pumps]
        assert len(pumps) == 1000
        assert all(pump.limits is not None and pump.wire_slot < 5 for pump in pumps)
