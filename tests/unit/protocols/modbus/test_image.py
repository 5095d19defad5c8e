"""The register image: existing, reserved, writable addresses; all or nothing."""

from __future__ import annotations

import pytest

from actors.vocabulary import InvalidValueError, Quality
from protocols.modbus.image import DecodedWrite, IllegalAddress, IllegalValue, RegisterImage
from protocols.points import Point, PointValue, site_points
from tests.unit.protocols.plants import north, site, station


def good(value: float) -> PointValue:
    return PointValue(value=value, quality=Quality.GOOD, utc_ns=1)


@pytest.fixture
def image() -> RegisterImage:
    return RegisterImage(site_points(north()))


def test_a_pump_block_reads_whole_with_its_gaps_as_zero(image: RegisterImage) -> None:
    """MOD-2: one read returns block and feedback; what was never written reads 0."""
    assert image.read(1, "holding", 100, 50) == [0] * 50
    assert image.read(1, "holding", 100, 100) == [0] * 100
    image.take({"/north/s1/p1/setpoint": good(35.5), "/north/s1/p1/epoch": good(0x0001_0002)})
    assert image.read(1, "holding", 103, 5) == [3550, 0, 0, 1, 2]


@pytest.mark.parametrize(
    ("table", "first", "count"),
    [("holding", 1, 1), ("holding", 0, 2), ("holding", 99, 2), ("holding", 199, 2), ("input", 0, 1),
     ("coil", 2, 1), ("coil", 101, 2), ("discrete", 2, 1), ("holding", 65535, 1)],
)  # fmt: skip
def test_what_is_not_there_cannot_be_read(image: RegisterImage, table: str, first: int, count: int) -> None:
    """MOD-3: a reading that leaves the map is an illegal address."""
    with pytest.raises(IllegalAddress):
        image.read(1, table, first, count)


def test_a_site_point_shows_in_every_unit(image: RegisterImage) -> None:
    """MOD-2: site points repeat in every station's unit."""
    image.take({"/north/failsafe": good(True)})
    assert image.read(1, "discrete", 0, 2) == image.read(2, "discrete", 0, 2) == [0, 1]


def test_a_value_of_ours_that_does_not_fit_changes_nothing(image: RegisterImage) -> None:
    """SAF-2.11: what the gate let through must fit; if not it is our bug, and no half of it is shown."""
    with pytest.raises(ValueError, match="not finite"):
        image.take({"/north/s1/p1/sequence": good(7), "/north/s1/p1/setpoint": good(float("nan"))})
    with pytest.raises(ValueError, match="no such point"):
        image.take({"/north/s1/p1/sequence": good(7), "/north/s1/p9/setpoint": good(0)})
    assert image.read(1, "holding", 100, 4) == [0, 0, 0, 0]


def test_a_foreign_value_that_does_not_fit_is_shown_at_the_end_and_told(image: RegisterImage) -> None:
    """MOD-3: never silently."""
    (fault,) = image.take({"/north/s1/p1/actual_speed": good(1e9)})
    assert "/north/s1/p1/actual_speed" in fault
    assert image.read(1, "holding", 123, 1) == [65535]


def test_a_write_of_the_whole_feedback_is_decoded_point_by_point(image: RegisterImage) -> None:
    """MOD-2: the PLC writes its block in one request."""
    raw = [1, 7, 3550, 3549, 0, 1234, 0, 5000, 0xFFFF, 0xFC18, 0, 1, 3]
    assert image.decode_write(2, "holding", 120, raw) == [
        DecodedWrite("/north/s2/p3/local_override", True),
        DecodedWrite("/north/s2/p3/plc_heartbeat", 7),
        DecodedWrite("/north/s2/p3/setpoint_echo", 35.5),
        DecodedWrite("/north/s2/p3/actual_speed", 35.49),
        DecodedWrite("/north/s2/p3/actual_power", 12.34),
        DecodedWrite("/north/s2/p3/actual_flow", 50.0),
        DecodedWrite("/north/s2/p3/wet_well_level", -1.0),
        DecodedWrite("/north/s2/p3/high_float", False),
        DecodedWrite("/north/s2/p3/running", True),
        DecodedWrite("/north/s2/p3/fault_code", 3),
    ]


@pytest.mark.parametrize(
    ("first", "raw", "error", "text"),
    [
        (103, [3500], IllegalAddress, "setpoint is read-only"),
        (107, [0], IllegalAddress, "epoch is read-only"),
        (113, [0], IllegalAddress, "reserved"),
        (133, [0], IllegalAddress, "reserved"),
        (132, [0, 0], IllegalAddress, "reserved"),
        (50, [0], IllegalAddress, "50"),
        (119, [0, 1], IllegalAddress, "reserved"),
        (124, [1], IllegalValue, "1 of 2"),
        (125, [1], IllegalValue, "last register"),
        (125, [1, 0, 1], IllegalValue, "last register"),
        (120, [2], IllegalValue, "neither 0 nor 1"),
        (130, [1, 2], IllegalValue, "running"),
    ],
)
def test_a_write_outside_the_rules_is_refused(
    image: RegisterImage, first: int, raw: list[int], error: type[Exception], text: str
) -> None:
    """MOD-3: every register is checked, half of a 32-bit value is refused."""
    with pytest.raises(error, match=text):
        image.decode_write(1, "holding", first, raw)


def test_a_reshaped_image_keeps_what_stays(image: RegisterImage) -> None:
    """MOD-2: a new pump disturbs no value."""
    image.take({"/north/s1/p2/heartbeat": good(9), "/north/s2/p3/heartbeat": good(8)})
    grown = image.reshaped(site_points(site(station("s1", 1, {"p1": 0, "p2": 1, "p4": 2}))))
    assert grown.read(1, "holding", 155, 1) == [9]
    assert grown.value("/north/s1/p2/heartbeat") == good(9)
    assert 2 not in grown
    assert grown.value("/north/s2/p3/heartbeat") == PointValue(value=0, quality=Quality.BAD)


def test_two_points_on_one_register_are_refused() -> None:
    """MOD-2: a map that collides is not served."""
    points = site_points(north())
    clash = next(point for point in points if point.path == "/north/s1/p1/heartbeat")
    twice: list[Point] = [*points, clash]
    with pytest.raises(InvalidValueError, match="holding 105"):
        RegisterImage(twice)
