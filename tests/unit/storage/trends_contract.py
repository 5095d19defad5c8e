"""What displays draw, read back: the same tests run on SQLite and on a real PostgreSQL."""

from collections.abc import Sequence

import pytest

from actors.vocabulary.trends import Piece
from storage.engine import Access
from storage.trends import Trends
from tests.unit.storage.contract import Place, feedback, moment


def measured(place: Place, start_s: float, end_s: float, *, pump_id: str = "p1") -> Sequence[Piece]:
    return place.run(
        Access.READ,
        lambda database: Trends(database).measured(
            pump_id, start=moment(start_s), end=moment(end_s), piece_s=300.0
        ),
    )


class TrendsContract:
    """Both engines."""

    @pytest.fixture(autouse=True)
    def seeded(self, place: Place) -> None:
        place.seed()

    def test_means_of_equal_pieces(self, place: Place) -> None:
        """HMI-2: rows at a piece's beginning belong to it, at its end to the next; a piece without rows is left out."""
        place.write(
            feedback(0, actual_speed_hz=30.0, wet_well_level_m=1.0),
            feedback(299, actual_speed_hz=40.0, wet_well_level_m=None),
            feedback(300, actual_speed_hz=50.0, wet_well_level_m=2.0),
            feedback(1_500, actual_speed_hz=None, wet_well_level_m=3.0),
            feedback(1_800, actual_speed_hz=10.0),
            feedback(10, pump_id="p2", actual_speed_hz=1.0),
        )
        assert measured(place, 0, 1_800) == [
            Piece(at=moment(0), speed_hz=35.0, level_m=1.0),
            Piece(at=moment(300), speed_hz=50.0, level_m=2.0),
            Piece(at=moment(1_500), speed_hz=None, level_m=3.0),
        ]

    def test_nothing_measured_is_nothing(self, place: Place) -> None:
        """HMI-2: an empty span draws nothing."""
        assert measured(place, 0, 1_800) == []

    def test_plans_beside_them(self, place: Place) -> None:
        """HMI-2: plan rows that touch the span, by the reader's role."""
        place.execute(
            "INSERT INTO pump_plans (station_id, pump_id, interval_start, interval_end, suggested_speed_hz,"
            " plan_version) VALUES ('s1', 'p1', '2026-06-01T12:00:00+00:00', '2026-06-01T13:00:00+00:00', 35.0, 1)"
        )
        found = place.run(
            Access.READ,
            lambda database: Trends(database).plans("s1", start=moment(60), end=moment(120)),
        )
        assert [(row.pump_id, row.suggested_speed_hz) for row in found] == [("p1", 35.0)]
