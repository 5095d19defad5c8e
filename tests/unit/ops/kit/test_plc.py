"""Structured Text and sheet: addresses from the map, names that the language takes, the layout the block expects."""

from __future__ import annotations

import re

import msgspec
import pytest

from actors.vocabulary import DeviceError
from ops.kit.plc import (
    BLOCK_POINTS,
    REPORT_POINTS,
    function_block,
    identifiers,
    modicon,
    registers_of,
    structured_text,
)
from ops.kit.sheet import commissioning_sheet
from ops.kit.tags import Place, Tag, only, tags_of
from protocols.points import FEEDBACK_OFFSET, FEEDBACK_POINTS, HANDSHAKE_REGISTERS, pump_base, tags
from tests.unit.protocols.plants import north, site, station

S1 = only(tags_of(tags(north())), station_id="s1")


def test_the_block_s_layout_is_the_map_s() -> None:
    """WDG-4: the function block's indexes are the registers of the map, every one of both areas accounted for."""
    first, second = registers_of(S1)
    assert (first.pump_id, first.unit_id, first.read, first.write) == (
        "p1",
        1,
        pump_base(0),
        pump_base(0) + 20,
    )
    assert (second.read, second.write) == (pump_base(1), pump_base(1) + FEEDBACK_OFFSET)
    assert set(REPORT_POINTS) == set(FEEDBACK_POINTS)
    for points, size in ((BLOCK_POINTS, HANDSHAKE_REGISTERS), (REPORT_POINTS, 13)):
        covered = [at + n for name, at in points.items() for n in range(first.tags[name].places[0].count)]
        assert covered == list(range(size))
    # 32-bit values begin at the registers that the text joins.
    text = function_block()
    assert "UINT_TO_UDINT(BLOCK[6]) * 65536 + UINT_TO_UDINT(BLOCK[7])" in text
    assert "BLOCK[0] <> BLOCK[11]" in text


def test_another_layout_is_refused() -> None:
    """WDG-4: a block for another map would be obeyed wrongly: none is made."""
    moved = [
        msgspec.structs.replace(
            tag,
            places=tuple(msgspec.structs.replace(place, address=place.address + 1) for place in tag.places),
        )
        if tag.point == "run_inhibit"
        else tag
        for tag in S1
    ]
    with pytest.raises(DeviceError, match="run_inhibit lies at 103"):
        structured_text(moved)
    with pytest.raises(DeviceError, match="not on the wire: heartbeat"):
        structured_text([tag for tag in S1 if tag.point != "heartbeat"])
    empty = only(tags_of(tags(site(station("s1", 1, {})))), station_id="s1")
    for make in (structured_text, commissioning_sheet):
        with pytest.raises(DeviceError, match="no pump"):
            make(empty)


def test_identifiers_are_unique_and_lawful() -> None:
    """WDG-4: IEC 61131-3 knows no hyphen, no doubled underscore, and no difference of case."""
    named = identifiers(["a-b", "a_b", "a--b", "2nd", "x_", "_"])
    assert len(set(named.values())) == 6
    assert all(re.fullmatch(r"[A-Z0-9]+(_[A-Z0-9]+)*", name) for name in named.values())
    plant = site(station("s1", 1, {"p1": 0, "p1-block": 1, "p1_hand": 2, "2": 3}))
    text = structured_text(only(tags_of(tags(plant)), station_id="s1"))
    program = text.partition("END_FUNCTION_BLOCK")[2]
    declared = re.findall(r"^  (\w+) : ", program, flags=re.MULTILINE)
    assert len(set(declared)) == len(declared)
    assert all(re.fullmatch(r"[A-Z][A-Z0-9]*(_[A-Z0-9]+)*", name) for name in declared)
    assert "P_P1_READ_FROM : UINT := 100;" in program
    assert "P_2_WRITE_TO : UINT := 270;" in program


@pytest.mark.parametrize(
    ("table", "address", "shown"),
    [("holding", 0, "40001"), ("holding", 9_998, "49999"), ("holding", 9_999, "410000"), ("coil", 100, "00101"),
     ("discrete", 1, "10002"), ("holding", 60_100, "460101"), ("coil", 9_999, "010000")],
)  # fmt: skip
def test_addresses_in_the_other_notation(table: str, address: int, shown: str) -> None:
    """MOD-2: counted from 1, five digits while they suffice, six beyond."""
    place = Place(unit_id=1, table=table, address=address, count=1, type="uint16", scale=1.0)
    assert modicon(place) == shown


def test_the_sheet_has_a_box_for_every_point_and_every_test() -> None:
    """WDG-4: each point of the station once, with its address and scaling; each pump its own tests."""
    sheet = commissioning_sheet(S1)
    for tag in S1:
        for place in tag.places:
            line = f"| `{tag.point}` | {'to' if tag.writable else 'from'} Calejo | {place.table} {place.address} "
            assert sheet.count(line) == 1, line
            assert (
                f"{line}({modicon(place)}) | {place.count} | {place.type} | {place.scale:g} | {tag.unit} |"
                in sheet
            )
    for pump in ("p1", "p2"):
        assert f"### Pump {pump}: nobody near it" in sheet
        assert f"calejo estop clear --scope pump --id {pump} " in sheet
    assert "{" not in sheet


def owners(found: tuple[Tag, ...]) -> set[str | None]:
    return {tag.pump_id for tag in found}


def test_filters() -> None:
    """MOD-2: by site, station and pump."""
    everything = tags_of(tags(north()))
    assert owners(only(everything, station_id="s2")) == {None, "p3"}
    assert owners(only(everything, pump_id="p2")) == {"p2"}
    assert only(everything, site_id="south") == ()
