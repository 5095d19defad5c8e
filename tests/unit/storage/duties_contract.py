"""Station duties and profiles on every database."""

import asyncio

import pytest

from actors.vocabulary import (
    Alternation,
    Assist,
    CleanOut,
    DutyProfile,
    Exercise,
    Flush,
    StationDuties,
)
from storage.engine import Access, Database
from storage.readers import DatabaseTopologyReader
from tests.unit.storage.contract import DUTIES_ROW, PROFILE_ROW, Place


class DutiesContract:
    """Runs on each engine; a subclass brings the fixture `place`."""

    def staged(self, place: Place) -> None:
        """Let both pumps have levels, and a dry-run bound in their envelopes."""
        place.seed()
        for pump_id in ("p1", "p2"):
            place.execute(
                "UPDATE pump_commissioning_envelopes SET level_dry_run_m = 0.2 WHERE pump_id = ?", pump_id
            )
            place.limits(
                pump_id,
                version=2,
                level_dry_run_m=0.4,
                level_dry_run_reset_m=0.6,
                level_min_m=0.7,
                level_max_m=2.0,
            )

    def test_duties_and_profiles_are_read_whole(self, place: Place) -> None:
        """CTL-6: off without a row; every duty, and profiles by name, in the station's own units."""
        self.staged(place)
        assert place.topology()[0][0].stations[0].duties == StationDuties()
        place.insert("station_duties", DUTIES_ROW)
        place.insert("station_profiles", PROFILE_ROW)
        sites, invalid = place.topology()
        assert not [key for key in invalid if key[0].startswith("station_")]
        assert sites[0].stations[0].duties == StationDuties(
            alternation=Alternation.BY_HOURS,
            order=("p2", "p1"),
            alternation_h=12.0,
            assist=Assist(pumps=1, reset_m=1.2, after_s=60.0),
            exercise=Exercise(after_h=48.0, run_s=30.0, level_m=1.0),
            flush=Flush(every_h=24.0, run_s=120.0, speed_hz=45.0, flow_m3h=90.0, level_m=1.5),
            clean_out=CleanOut(level_m=0.25, run_s=300.0, speed_hz=25.0, power_kw_min=2.0),
            profiles=(
                DutyProfile(
                    name="night",
                    weekdays=(1, 2, 3, 4, 5, 6, 7),
                    from_minute=1320,
                    until_minute=330,
                    default_setpoint_hz=22.0,
                    speed_hz_min=25.0,
                    speed_hz_max=35.0,
                    max_pumps_running=1,
                    duty_order=("p1",),
                ),
            ),
        )

    @pytest.mark.parametrize(
        ("column", "value", "why"),
        [
            ("duty_order", "p1 p9", "'p9' is no pump"),
            ("duty_order", "p1, p1", "twice"),
            ("assist_reset_m", 2.0, "not below level_max_m 2 m of p1"),
            ("assist_reset_m", 0.7, "not above level_min_m"),
            ("assist_speed_hz", 55.0, "outside the approved band of p1"),
            ("exercise_level_m", 0.5, "not above level_min_m"),
            ("flush_level_m", 0.6, "not above level_min_m"),
            ("flush_speed_hz", 10.0, "outside the approved band"),
            ("flush_every_h", 0.03, "flush_run_s"),
            ("clean_out_level_m", 0.4, "to below its level_dry_run_m"),
            ("clean_out_level_m", 0.19, "commissioning envelope"),
            ("clean_out_speed_hz", 60.0, "outside the approved band"),
        ],
    )
    def test_a_wrong_duty_is_off_and_named_and_the_others_go_on(
        self, place: Place, column: str, value: object, why: str
    ) -> None:
        """CTL-6, DAT-4: rules across tables; the station keeps running with what is right."""
        self.staged(place)
        place.insert("station_duties", {**DUTIES_ROW, column: value})
        sites, invalid = place.topology()
        found = {key: reason for key, reason in invalid.items() if key[0] == "station_duties"}
        [((_, key, named), reason)] = found.items()
        assert key == "s1"
        assert named == ("flush_run_s" if column == "flush_every_h" else column)
        assert why in f"{named} {reason}"
        assert "off" in reason
        duties = sites[0].stations[0].duties
        parts = (duties.order, duties.assist, duties.exercise, duties.flush, duties.clean_out)
        assert sum(bool(part) for part in parts) == 4

    def test_a_clean_out_needs_a_commissioned_bound(self, place: Place) -> None:
        """CTL-6, SAF-6: how far below its limit a pump may ever be drawn is for whoever commissioned it to say."""
        self.staged(place)
        place.insert("station_duties", DUTIES_ROW)
        place.execute("UPDATE pump_commissioning_envelopes SET level_dry_run_m = NULL WHERE pump_id = 'p2'")
        sites, invalid = place.topology()
        assert sites[0].stations[0].duties.clean_out is None
        assert "p2" in invalid["station_duties", "s1", "clean_out_level_m"]

    @pytest.mark.parametrize(
        "wrong",
        [
            {"alternation": "SOMETIMES"},
            {"alternation_h": 0.0},
            {"assist_pumps": -1},
            {"assist_reset_m": None},
            {"assist_after_s": 0.0},
            {"exercise_run_s": None},
            {"exercise_run_s": 1e6},
            {"flush_flow_m3h": float("nan")},
            {"flush_speed_hz": float("inf")},
            {"clean_out_power_kw_min": None},
            {"clean_out_run_s": 3600.0},
        ],
        ids=str,
    )
    def test_impossible_duties_are_refused_by_the_database(
        self, place: Place, wrong: dict[str, object]
    ) -> None:
        """CTL-6, DAT-1: a duty is there whole or not at all, and within its bounds."""
        self.staged(place)
        with pytest.raises(place.refusal):
            place.insert("station_duties", {**DUTIES_ROW, **wrong})

    @pytest.mark.parametrize(
        ("wrong", "column"),
        [
            ({"default_setpoint_hz": 10.0}, "default_setpoint_hz"),
            ({"speed_hz_min": 15.0}, "speed_hz_min"),
            ({"speed_hz_max": 51.0}, "speed_hz_max"),
            ({"max_pumps_running": 3}, "max_pumps_running"),
            ({"duty_order": "p3"}, "duty_order"),
            ({"starts_at": "05:00", "ends_at": "06:00"}, "starts_at"),
        ],
        ids=str,
    )
    def test_a_wrong_profile_does_not_count_and_is_named(
        self, place: Place, wrong: dict[str, object], column: str
    ) -> None:
        """CTL-6: inside the approved limits and the station's own number, and no two at one time."""
        self.staged(place)
        place.execute("UPDATE pump_stations SET max_pumps_running = 2 WHERE station_id = 's1'")
        place.insert("station_profiles", PROFILE_ROW)
        place.insert(
            "station_profiles", {**PROFILE_ROW, "name": "x", "starts_at": "05:30", "ends_at": "06:30"} | wrong
        )
        sites, invalid = place.topology()
        assert [key for key in invalid if key[0] == "station_profiles"] == [
            ("station_profiles", "s1/x", column)
        ]
        assert [profile.name for profile in sites[0].stations[0].duties.profiles] == ["night"]

    @pytest.mark.parametrize(
        "wrong",
        [
            {"starts_at": "24:00"},
            {"ends_at": "6:00"},
            {"weekdays": "018"},
            {"weekdays": ""},
            {"name": " "},
            {"speed_hz_min": 36.0},
            {"max_pumps_running": 0},
        ],
        ids=str,
    )
    def test_impossible_profiles_are_refused_by_the_database(
        self, place: Place, wrong: dict[str, object]
    ) -> None:
        """CTL-6, DAT-1: times of day, days and bands."""
        self.staged(place)
        with pytest.raises(place.refusal):
            place.insert("station_profiles", {**PROFILE_ROW, **wrong})

    def test_a_changed_duty_wakes_discovery(self, place: Place) -> None:
        """DAT-4: as any other configuration."""
        self.staged(place)

        async def work(database: Database) -> bool:
            reader = DatabaseTopologyReader(database)
            await reader.read()
            await reader.wait_for_change(at_most_s=0.0)
            await asyncio.to_thread(place.insert, "station_duties", DUTIES_ROW)
            woken = await reader.wait_for_change(at_most_s=5.0)
            await reader.close()
            return woken

        assert place.run(Access.READ, work)
