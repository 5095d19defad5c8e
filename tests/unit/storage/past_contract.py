"""The past of points in a database: the same tests run on SQLite and on a real PostgreSQL."""

from typing import Any

import msgspec
import pytest

from actors.vocabulary import InvalidValueError, Mode, Quality, Reason
from actors.vocabulary.client_calls import PAST_POINTS, PastPage, PastQuestion
from storage.engine import Access
from storage.past import PastOfPoints, PastPoints
from tests.unit.storage.contract import Place, feedback, moment
from tests.unit.storage.decisions_contract import wire


def ask(place: Place, point: str, start_s: float | None, end_s: float | None, **given: Any) -> PastPage:
    question = PastQuestion(
        pump_id=given.pop("pump_id", "p1"),
        point=point,
        start=None if start_s is None else moment(start_s),
        end=None if end_s is None else moment(end_s),
        count_max=given.pop("count", 100),
        **given,
    )
    one, other = (
        place.run(Access.WRITE, read)
        for read in (
            lambda database: PastPoints(database, endpoint="opcua").read(question),
            lambda database: PastOfPoints(database).read(question, endpoint="opcua"),
        )
    )
    assert one == other, "an endpoint's clients and those of REST see one past"
    return one


def seconds(page: PastPage) -> list[float]:
    return [(value.at - moment(0)).total_seconds() for value in page.values]


def shown(at_s: float, hz: float = 35.0, **fields: Any) -> Any:
    detail = {
        "why": "taken",
        "quality": "GOOD",
        "run_inhibit": False,
        "mode": "AUTO",
        **fields.pop("detail", {}),
    }
    return wire(
        int(at_s * 10), at_s=at_s, endpoint=fields.pop("endpoint", "opcua"), setpoint_hz=hz, detail=detail, **fields
    )  # fmt: skip


class PastContract:
    """Runs on each engine; a subclass brings the fixture `place`."""

    def test_an_interval_has_its_start_and_not_its_end_either_way(self, place: Place) -> None:
        """OPC 10000-11, 6.5.3: [start, end) forwards, (end, start] backwards; open ends."""
        place.seed()
        place.write(*(shown(float(number)) for number in range(6)))
        assert seconds(ask(place, "setpoint", 1, 4)) == [1, 2, 3]
        assert seconds(ask(place, "setpoint", 4, 1, backwards=True)) == [4, 3, 2]
        assert seconds(ask(place, "setpoint", 2, 2)) == [2]
        assert seconds(ask(place, "setpoint", 3, None)) == [3, 4, 5]
        assert seconds(ask(place, "setpoint", 3, None, backwards=True)) == [3, 2, 1, 0]

    def test_pages_meet_without_a_gap_or_a_repeat(self, place: Place) -> None:
        """OPC-3: also among rows of the same moment, and when rows are added meanwhile."""
        place.seed()
        rows = [shown(float(number // 3), hz=float(number)) for number in range(9)]
        place.write(
            *(msgspec.structs.replace(row, record_id=f"w{number}") for number, row in enumerate(rows))
        )
        for backwards in (False, True):
            got: list[float] = []
            following = ""
            ends = (2, -1) if backwards else (0, 3)
            for turn in range(9):
                page = ask(place, "setpoint", *ends, count=2, following=following, backwards=backwards)
                got += [float(value.value) for value in page.values]
                following = page.following
                if not following:
                    break
                place.write(msgspec.structs.replace(shown(50.0 + turn), record_id=f"late{backwards}{turn}"))
            assert (
                got
                == sorted(got, reverse=backwards)
                == [float(n) for n in sorted(range(9), reverse=backwards)]
            )
        with pytest.raises(InvalidValueError, match="following"):
            ask(place, "setpoint", 0, 3, following="somewhere")

    def test_the_value_that_holds_at_a_moment_is_found(self, place: Place) -> None:
        """OPC 10000-11, 6.5.3: the newest until then, or the first from then on; none where there is none."""
        place.seed()
        place.write(shown(1.0), shown(5.0))
        assert seconds(ask(place, "setpoint", 4, None, bound=True)) == [1]
        assert seconds(ask(place, "setpoint", 5, None, bound=True)) == [5]
        assert seconds(ask(place, "setpoint", 2, None, bound=True, backwards=True)) == [5]
        assert ask(place, "setpoint", 0, None, bound=True) == PastPage(values=())
        assert ask(place, "setpoint", 6, None, bound=True, backwards=True) == PastPage(values=())

    def test_what_an_endpoint_showed_is_its_own_picture(self, place: Place) -> None:
        """OPC-3: value and quality of each published point; another endpoint's and another pump's rows are theirs."""
        place.seed()
        place.write(
            shown(
                1.0, detail={"quality": "UNCERTAIN", "run_inhibit": True, "mode": "MANUAL"}, reason="MANUAL"
            ),
            shown(2.0, endpoint="modbus"),
            shown(3.0, pump_id="p2"),
            shown(4.0, remote_enabled=False, detail={"quality": "BAD", "mode": None, "run_inhibit": None}),
        )
        found = {
            point: [(value.value, value.quality) for value in ask(place, point, 0, 9).values]
            for point in ("setpoint", "remote_enabled", "run_inhibit", "setpoint_quality", "reason", "mode")
        }
        good, bad = Quality.GOOD, Quality.BAD
        assert found == {
            "setpoint": [(35.0, Quality.UNCERTAIN), (35.0, bad)],
            "remote_enabled": [(True, good), (False, good)],
            "run_inhibit": [(True, good), (False, bad)],
            "setpoint_quality": [(1, good), (0, good)],
            "reason": [(Reason.MANUAL.value, good), (Reason.PLAN.value, good)],
            "mode": [(Mode.MANUAL.value, good), (0, bad)],
        }

    def test_what_was_measured_is_there_whoever_wrote_it(self, place: Place) -> None:
        """OPC-3: a row without the point tells nothing of it; one that was not good as a whole is uncertain."""
        place.seed()
        place.write(
            feedback(1, actual_speed_hz=30.0, running=True),
            feedback(2, actual_speed_hz=None, running=False, quality="BAD"),
            feedback(3, actual_speed_hz=31.0, running=None, source="foreign"),
        )
        speed = ask(place, "actual_speed", 0, 9)
        assert [(value.value, value.quality) for value in speed.values] == [
            (30.0, Quality.GOOD), (31.0, Quality.GOOD),
        ]  # fmt: skip
        running = ask(place, "running", 0, 9)
        assert [(value.value, value.quality) for value in running.values] == [
            (True, Quality.GOOD), (False, Quality.UNCERTAIN),
        ]  # fmt: skip
        for point in PAST_POINTS:
            assert isinstance(ask(place, point, 0, 9), PastPage)
        with pytest.raises(InvalidValueError, match="no past"):
            ask(place, "heartbeat", 0, 9)
