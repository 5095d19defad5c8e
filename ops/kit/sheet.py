"""The commissioning sheet of one station, made from the running map: points with boxes to fill in, then the tests."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from actors.vocabulary import DeviceError
from ops.kit.plc import BLOCK_POINTS, BLOCK_REGISTERS, REPORT_POINTS, PumpRegisters, modicon, registers_of
from ops.kit.tags import Tag

_BOX: Final = "☐"


def commissioning_sheet(tags: Sequence[Tag]) -> str:
    """Return the sheet (Markdown) for one station's tags.

    Raises:
        DeviceError: as `registers_of`; the station has no pump.

    """
    pumps = registers_of(tags)
    if not pumps:
        raise DeviceError("the station has no pump on the wires")
    return "\n".join(_lines(tags, pumps)) + "\n"


def _lines(tags: Sequence[Tag], pumps: Sequence[PumpRegisters]) -> Iterator[str]:
    station = tags[0]
    yield f"# Commissioning sheet: station {station.station_id}, site {station.site_id}\n"
    yield "Made by `calejo plc sheet` from the running map. Fill it in on site, keep it with the station's papers."
    yield "Calejo is an adviser: it is no safety function and no lock-out. Lock out before anybody touches a pump.\n"
    yield "| | |\n|---|---|"
    for title in (
        "Date", "Engineer", "Second person on site", "Controller (make, firmware)", "Calejo version",
        "Modbus address and port", "Level datum (what 0 mm means)",
    ):  # fmt: skip
        yield f"| {title} | |"
    yield f"| Modbus unit id | {pumps[0].unit_id} |"
    yield from _points("Station", [tag for tag in tags if tag.pump_id is None])
    for pump in pumps:
        yield f"\n## Pump {pump.pump_id}\n"
        yield (
            f"Read {BLOCK_REGISTERS} holding registers from {pump.read} (function 03, one request) at least each"
            f" second; write {BLOCK_REGISTERS} from {pump.write} (function 16, one request) each second."
        )
        # State bits repeat what stands in the block already.
        of_pump = [tag for tag in pump.tags.values() if tag.node_id or tag.writable]
        yield from _points("Calejo says", [tag for tag in of_pump if tag.point in BLOCK_POINTS], level=3)
        yield from _points(
            "The controller reports", [tag for tag in of_pump if tag.point in REPORT_POINTS], level=3
        )
        yield from _points(
            "Beside them",
            [tag for tag in of_pump if tag.point not in BLOCK_POINTS and tag.point not in REPORT_POINTS],
            level=3,
        )
    yield from _tests(station, pumps)
    yield "\n## Released\n"
    yield "| | name | date | signature |\n|---|---|---|---|"
    yield "| Engineer | | | |\n| Operator | | | |"


def _points(title: str, tags: Sequence[Tag], *, level: int = 2) -> Iterator[str]:
    if not tags:
        return
    yield f"\n{'#' * level} {title}\n"
    yield "| ok | point | direction | address (4xxxx) | registers | raw | scale | unit | true value | seen |"
    yield "|---|---|---|---|---|---|---|---|---|---|"
    for tag in tags:
        for place in (each for each in tag.places if each.table != "input"):
            direction = "to Calejo" if tag.writable else "from Calejo"
            yield (
                f"| {_BOX} | `{tag.point}` | {direction} | {place.table} {place.address} ({modicon(place)}) |"
                f" {place.count} | {place.type} | {place.scale:g} | {tag.unit} | | |"
            )


_BEFORE: Final = (
    "`calejo wire check --without-plc --station {station}` from this machine: no line says FAIL.",
    (
        "The station's own protection, tried without Calejo: dry-run, thermal, seal, high float, drive limits. It must"
        " work as it did before."
    ),
    "`calejo wire watch --station {station}` stays open beside you; its stamps are UTC.",
)
_STATION_TESTS: Final = (
    (
        "Controller writes",
        "Start the controller's Modbus client.",
        "Within 2 s every feedback point is GOOD, `plc_heartbeat` moves each second.",
    ),
    (
        "Level",
        "Compare at two levels at least 0.5 m apart, or with a calibrator at 4 mA and 20 mA.",
        "`wet_well_level` is the true level above the datum within 2 cm, in millimetres on Modbus.",
    ),
    (
        "High float",
        "Lift the float; then pull its plug.",
        "`high_float` becomes 1 both times.",
    ),
    (
        "Network gone",
        "Pull the controller's network plug for 60 s, then put it back.",
        (
            "After 10 s every pump is on local levels, without a jump of a running pump. After the plug is back, Calejo"
            " takes over by itself, no sooner than its recovery hold."
        ),
    ),
    (
        "Calejo gone",
        "End Calejo (Ctrl-C or the service), wait 60 s, start it again.",
        "As above.",
    ),
    (
        "Station stop",
        "`calejo estop set --scope station --id {station} --reason test`",
        (
            "Every pump stops; no local level starts one. `calejo estop clear --scope station --id {station} --reason"
            " tested`: they may start again, from 0."
        ),
    ),
)
_PUMP_TESTS: Final = (
    (
        "Feedback",
        "Run the pump by hand at two speeds.",
        "`local_override` 1, `running` 1; `actual_speed`, `actual_power`, `actual_flow` are the true values at both.",
    ),
    (
        "Obey",
        "Panel to automatic. `calejo mode set {pump} MANUAL --hz 30 --for 10m` (a speed inside its band)",
        "`remote_enabled` 1, the drive runs at that speed, `setpoint_echo` says it.",
    ),
    (
        "Panel outranks",
        "Take the pump over at the panel at another speed.",
        "The panel's speed holds; `mode` LOCAL, `remote_enabled` 0. Back to automatic: no jump.",
    ),
    (
        "Stop",
        "`calejo estop set --scope pump --id {pump} --reason test`",
        (
            "Within 1 s `run_inhibit` 1 and the pump stops. Raise the level above the local start level"
            " (or simulate it): the pump stays stopped."
        ),
    ),
    (
        "Stop outlives Calejo",
        "With the stop set: end Calejo.",
        "The pump stays stopped, local levels included.",
    ),
    (
        "Stop outlives the supply",
        (
            "With the stop set and Calejo ended: switch the controller's supply off for a minute, and on. Then, if your"
            " controller can: a cold start and a download of the same program."
        ),
        "The pump stays stopped each time. If a cold start loses the stop, write down here how it is retained:",
    ),
    (
        "Release",
        "Start Calejo; note `release_id`. `calejo estop clear --scope pump --id {pump} --reason tested`",
        "`release_id` has risen, `run_inhibit` 0, then the pump may start, from 0, on its ramp.",
    ),
    (
        "Reset at the panel",
        "Set the stop again, end Calejo, press reset at the panel.",
        "The pump runs on local levels again. Start Calejo: the stop holds again. Clear it.",
    ),
    (
        "Old epoch",
        "Note `epoch`. Kill the safety actor of the station (`calejo tree` shows its pid).",
        "`epoch` is higher afterwards, the pump kept running; the controller refuses a lower one until a reset.",
    ),
)


def _tests(station: Tag, pumps: Sequence[PumpRegisters]) -> Iterator[str]:
    yield "\n## Tests on site\n"
    yield "In this order. A test that fails ends the commissioning until its cause is known.\n"
    yield "### Before\n"
    for step in _BEFORE:
        yield f"- {_BOX} {step.format(station=station.station_id)}"
    yield "\n### The station\n"
    yield from _table(_STATION_TESTS, station=station.station_id or "", pump="")
    for pump in pumps:
        yield f"\n### Pump {pump.pump_id}: nobody near it, valves open\n"
        yield from _table(_PUMP_TESTS, station=station.station_id or "", pump=pump.pump_id)
    yield "\n### After\n"
    yield f"- {_BOX} `calejo estop list` is empty; every pump is in AUTO."
    yield f"- {_BOX} `calejo wire check --station {station.station_id}` (now with the controller): no line says FAIL."


def _table(tests: Sequence[tuple[str, str, str]], *, station: str, pump: str) -> Iterator[str]:
    yield "| ok | test | do | expect | seen, at (UTC) |"
    yield "|---|---|---|---|---|"
    for title, do, expect in tests:
        step, wanted = (text.format(station=station, pump=pump) for text in (do, expect))
        yield f"| {_BOX} | {title} | {step} | {wanted} | |"
