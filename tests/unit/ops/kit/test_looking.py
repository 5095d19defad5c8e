"""What `wire watch` remarks, told as looks at given times."""

from __future__ import annotations

from datetime import UTC, datetime

from ops.kit.clients import Shown
from ops.kit.looking import Look, Owner
from ops.kit.tags import tags_of
from ops.kit.watch import Screen, compact, detailed, lines
from protocols.points import tags
from tests.unit.protocols.plants import north

P1 = [tag for tag in tags_of(tags(north())) if tag.owner == "/north/s1/p1"]


class Watching:
    """Looks at one pump with a clock of its own."""

    def __init__(self) -> None:
        self.owner = Owner("/north/s1/p1", P1)
        self.now_s = 100.0

    def look(
        self, modbus: dict[str, float] | None, opcua: dict[str, float] | None, *, after_s: float = 1.0
    ) -> Look:
        self.now_s += after_s
        values = {
            wire: {point: Shown(value=value) for point, value in shown.items()}
            for wire, shown in (("modbus", modbus), ("opcua", opcua))
            if shown is not None
        }
        faults = {wire: "silent" for wire, shown in (("modbus", modbus), ("opcua", opcua)) if shown is None}
        return self.owner.look(values, faults, now_s=self.now_s)


def test_a_heartbeat_that_stands_still_for_more_than_10_s_is_stale() -> None:
    """WDG-4: as long as a controller would obey, by each wire's own heartbeat."""
    watching = Watching()
    for beat in range(3):
        assert watching.look({"heartbeat": beat}, {"heartbeat": 500 + beat}).marks == ()
    for _ in range(10):
        assert watching.look({"heartbeat": 2}, {"heartbeat": 502}).marks == ()
    assert watching.look({"heartbeat": 2}, {"heartbeat": 503}).marks == ("modbus: stale 11 s",)
    assert watching.look({"heartbeat": 3}, {"heartbeat": 504}).marks == ()


def test_a_difference_must_stay() -> None:
    """WDG-4: a value that arrives on one wire a moment later is none; one that stays apart is one."""
    watching = Watching()
    for level in (1.000, 1.001, 1.002, 1.003):
        # OPC UA hears of it after this look, every time.
        assert not watching.look({"wet_well_level": level}, {"wet_well_level": level - 0.001}).differing
    assert not watching.look({"wet_well_level": 2.0}, {"wet_well_level": 1.003}).differing
    watching.look({"wet_well_level": 2.5}, {"wet_well_level": 1.003}, after_s=4.0)
    look = watching.look({"wet_well_level": 3.0}, {"wet_well_level": 1.003}, after_s=4.0)
    assert look.differing == {"wet_well_level"}
    assert look.marks == ("differs: wet_well_level 3/1.003",)
    assert not watching.look({"wet_well_level": 1.003}, {"wet_well_level": 1.003}).differing


def test_what_registers_cannot_say_finer_is_no_difference() -> None:
    """MOD-2: OPC UA shows 35.2468 Hz where the register shows 35.25."""
    watching = Watching()
    for _ in range(3):
        assert not watching.look({"actual_speed": 35.25}, {"actual_speed": 35.2468}).differing
    first, second = (
        watching.look({"actual_speed": 35.25}, {"actual_speed": 35.26}, after_s=4) for _ in range(2)
    )
    assert first.differing == frozenset()
    assert second.differing == {"actual_speed"}


def test_torn_and_silent_are_told() -> None:
    """WDG-4: a block whose ends differ; a wire that says nothing is not compared."""
    watching = Watching()
    torn = watching.look({"sequence": 4, "sequence_end": 5}, {"sequence": 4, "sequence_end": 4})
    assert torn.marks == ("modbus: torn (4, 5)",)
    for _ in range(3):
        silent = watching.look({"actual_speed": 1.0}, None)
        assert silent.marks == ("opcua: silent",)
        assert silent.differing == frozenset()


def test_what_is_shown() -> None:
    """OPC-1, MOD-2: names for codes, three digits for levels, a dash for what nobody said, remarks at the end."""
    watching = Watching()
    shown = {
        "mode": 1,
        "reason": 13,
        "setpoint_quality": 2,
        "setpoint": 35.0,
        "wet_well_level": 1.2,
        "heartbeat": 7,
    }
    look = watching.look(shown, None)
    (title, row) = compact([look])
    assert title.split()[:3] == ["path", "mode", "on"]
    assert row.split() == [
        "/north/s1/p1", "AUTO", "-", "-", "35.00", "GOOD", "DRY_RUN", "-", "-", "-", "1.200", "-", "7", "opcua:",
        "silent",
    ]  # fmt: skip
    assert "/north/s1/p1/reason" in "\n".join(detailed([look]))
    (line,) = lines([look], datetime(2026, 11, 21, tzinfo=UTC))
    assert line.startswith("2026-11-21T00:00:00.000+00:00 /north/s1/p1 mode=AUTO reason=DRY_RUN ")
    assert line.endswith('remarks="opcua: silent"')
    odd = watching.look({"mode": 99, "reason": 99, "heartbeat": 1}, None)
    assert compact([odd])[1].split()[1] == "99"


def test_a_station_has_a_line_while_there_is_something_to_say() -> None:
    """EST-1, WDG-2: its stop, its failsafe, a wire that is silent; else the pumps have the screen for themselves."""

    def shown(*marks: str, **values: bool) -> list[str]:
        told = {"modbus": {point: Shown(value=value) for point, value in values.items()}}
        look = Look(owner="/north/s1", values=told, faults={}, marks=marks, differing=frozenset())
        return [line.partition("-  ")[2].split("  ")[-1] for line in compact([look])[1:]]

    assert shown(emergency_stop=False, failsafe=False) == []
    assert shown(emergency_stop=True, failsafe=False) == ["emergency_stop"]
    assert shown("opcua: silent", emergency_stop=True, failsafe=True) == [
        "emergency_stop; failsafe; opcua: silent"
    ]
    assert shown("opcua: silent", failsafe=False) == ["opcua: silent"]


class Paper:
    """A terminal that keeps what is written."""

    def __init__(self) -> None:
        self.text = ""

    def write(self, text: str) -> int:
        self.text += text
        return len(text)

    def flush(self) -> None:
        return


def test_what_does_not_fit_on_the_screen_is_counted(monkeypatch: object) -> None:
    """OPC-1: more lines than the terminal has are cut off and said."""
    import os

    paper = Paper()
    os.environ["LINES"], os.environ["COLUMNS"] = "5", "20"
    try:
        with Screen(paper) as screen:  # type: ignore[arg-type]
            screen.show([f"line {number} {'x' * 40}" for number in range(9)])
    finally:
        del os.environ["LINES"], os.environ["COLUMNS"]
    body = paper.text.partition("\x1b[H")[2]
    assert body.count("\n") == 4
    assert "... 5 more lines" in body
    assert all(len(line.replace("\x1b[K", "").replace("\x1b[J", "")) <= 75 for line in body.splitlines()[:4])
