"""Writes `ops/docs/wire.md` from the point map and the codes, so that the document cannot lie about the wire.

`python -m ops.wire_document > ops/docs/wire.md` makes it anew; a test compares.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import IntEnum
from typing import Final

from actors.vocabulary import (
    ControlType,
    FailsafeStrategy,
    Mode,
    PumpConfig,
    Quality,
    Reason,
    SiteConfig,
    StationConfig,
)
from protocols.points import site_points

_INTRODUCTION: Final = """\
# The wire: what a PLC and a SCADA system read and write

Made from the code by `python -m ops.wire_document`; a test holds the two together. The places of your own plant are
printed by `calejo tags`, also as import files for SCADA systems ([commissioning.md](commissioning.md)): take addresses
from there, never by hand from this page. `calejo plc st STATION` gives the controller's side as Structured Text.

- Modbus TCP: one unit id per station (`pump_stations.modbus_unit_id`), zero-based addresses, most significant word
  first, value = raw x scale. A pump's registers begin at 100 + 50 x slot; its slot is given once and never reused.
- OPC UA: the same points under `site / station / pump`, node ids `ns=2;s=/site/station/pump/point`, values in
  engineering units.
- The first 13 registers of a pump are the handshake block: read them in one request. `sequence` equal to
  `sequence_end` says that the block is untorn.
- **Obey the setpoint only while** `remote_enabled` is 1, `heartbeat` has moved within 10 s, `epoch` is not lower than
  one already seen, and your own panel has not taken over. Otherwise run on your own levels, under `run_inhibit`.
- **Retain `run_inhibit`**, whatever happens to Calejo; let go only when it is 0 and `release_id` is higher than the
  one retained, or on a reset at the panel. It forbids starts, and running unless `remote_enabled` is 1 with a
  setpoint above 0. It is not a lock-out/tag-out and not an emergency stop in the sense of IEC 60204-1.
- Write every feedback point at least each second, changed or not, and move `plc_heartbeat` each time. A point that
  was never written is BAD, not 0.
- Coil `emergency_stop` sets only: writing 0 clears nothing.
- Modbus exceptions: 01 function not served, 02 no such point or not writable, 03 value or quantity out of range,
  04 the write could not be made durable, 06 too many requests, 0B no such unit.
"""


def document() -> str:
    """Return the page."""
    return "\n".join(_lines())


def _lines() -> Iterator[str]:
    yield _INTRODUCTION
    yield from _codes("Modes (`mode`)", Mode)
    yield from _codes("Qualities (`setpoint_quality`)", Quality)
    yield from _codes("Reasons (`reason`)", Reason)
    yield "## Points of a station with one pump in slot 0\n"
    yield "| path | type | unit | access | Modbus table | address | registers | raw | scale | meaning |"
    yield "|---|---|---|---|---|---|---|---|---|---|"
    for point in site_points(_EXAMPLE):
        place = point.places[0]
        cells = (
            f"`{point.path}`", point.type.value, point.unit, point.access.value, place.table, place.address,
            place.count, place.raw, f"{place.scale:g}", point.description,
        )  # fmt: skip
        yield "| " + " | ".join(str(cell) for cell in cells) + " |"
    yield ""


def _codes(title: str, codes: type[IntEnum]) -> Iterator[str]:
    yield f"## {title}\n"
    yield "| code | name |"
    yield "|---|---|"
    for code in codes:
        yield f"| {code.value} | {code.name} |"
    yield ""


_EXAMPLE: Final = SiteConfig(
    site_id="site",
    name="Site",
    timezone="UTC",
    stations=(
        StationConfig(
            station_id="station",
            site_id="site",
            name="Station",
            timezone="UTC",
            modbus_unit_id=1,
            pumps=(
                PumpConfig(
                    pump_id="pump",
                    station_id="station",
                    name="Pump",
                    control_type=ControlType.DIRECT_SPEED,
                    default_setpoint_hz=0.0,
                    failsafe_strategy=FailsafeStrategy.DEFAULT_SETPOINT,
                    wire_slot=0,
                ),
            ),
        ),
    ),
)


if __name__ == "__main__":
    print(document(), end="")
