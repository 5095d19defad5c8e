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
from protocols.modbus.points import modbus_points
from protocols.points import operator_points, site_points
from protocols.sparkplug.names import definitions, sparkplug_points
from protocols.sparkplug.schema import by_key

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
- Modbus exceptions: 01 function not served, not permitted, or not in this state; 02 no such point or not writable;
  03 value or quantity out of range; 04 the write could not be made durable; 06 too many requests; 0B no such unit.
"""


_SPARKPLUG: Final = """\
## Sparkplug B

Off unless `sparkplug.host` names an MQTT broker ([configuration.md](configuration.md)). One edge node per site, as
Sparkplug 3.0 has it, on MQTT 5 or 3.1.1. To try it beside the demo:

```
mosquitto -p 1883 &
CALEJO_SPARKPLUG__HOST=127.0.0.1 make run        # and: mosquitto_sub -t 'spBv1.0/#' -F '%t %l'
```

**Names.** Group: `sparkplug.group`; edge node: the site's id; a station is the device `<station>`, a pump the device
`<station>.<pump>`; a metric has the name of its point on the other wires. A name depends on ids alone, so it stays
when others come and go: a pump that is added is a DBIRTH, one that is removed a DDEATH, one whose limits change is
born again, and no other device notices. `calejo tags --format sparkplug` prints them. Aliases are numbers of the
running process: take them from the births. Data messages carry the alias alone, neither name nor type. Group and site
id together must be unique at the broker.

**Values.** Report by exception. A point that was never written is null with quality BAD. Property `Quality`: 192 GOOD,
0 BAD, 500 (the specification's STALE) where ours is UNCERTAIN, that is in failsafe; our own code is the metric
`setpoint_quality`. `engUnit`, `engLow`, `engHigh`, `readOnly` and `documentation` are in the births. Timestamps are the
moment of the change, UTC.

**What shows when something dies.** The control chain: the gate of this endpoint lets the lease run out (10 s) and shows
`remote_enabled` false, the failsafe image, quality BAD, and reason LEASE_EXPIRED, as on the other wires. This
endpoint's process: the broker publishes NDEATH (the will), at once when the process is killed, after one and a half
times `sparkplug.keepalive_s` when it hangs; its successor is born with the next bdSeq. The broker, or the primary host
(`sparkplug.primary_host`): the other wires and the pumps do not notice; after 30 s an alarm says so, values are kept on
disk and handed in afterwards with `is_historical`, oldest first, at least once. Kept is everything but `sequence`,
`sequence_end`, `heartbeat`, `plc_heartbeat` and `scada_heartbeat`, up to `sparkplug.backfill_bytes_max`; then the
oldest go, and `backfill_lost` counts them. A disk that refuses loses nothing at once: memory keeps up to 50,000 values,
bdSeq counts on, alarm `link_unsaved`. **This wire is for SCADA: no controller may take its setpoint from here**,
because a broker in between can hold a message back.

**Commands.** NCMD and DCMD to the metrics marked below; everything else is refused. Emergency stops are always obeyed
and set only: false clears nothing. `setpoint_request` (in MANUAL only) and `mode_request` are obeyed when
`sparkplug.operator_commands` is on. MQTT names no sender: **who may publish to `spBv1.0/<group>/NCMD/<site>` and
`DCMD/<site>/#` is decided by the broker's access list**, and audited here as the broker. A command needs a timestamp
(the metric's own, else the message's) that is newer than the metric's last and at most `sparkplug.command_age_s` from
our clock; what is older, repeated or retained is refused. A stop is taken whatever its timestamp says, unless it is
retained or the very same message again, and neither it nor the primary host's STATE ever waits behind a flood. Above
50 commands a second (5 heartbeats of a station) the answer is `rejected: busy`, and the same command may be sent
again; above 1,000 messages that wait the newest are dropped (metric `calejo_link_incoming_dropped_total`). A host
that asks for births in a loop gets them ever more rarely, every 30 s at last, and data in between. With MQTT 5 the
broker is asked for messages of at most 17 kB; with 3.1.1 its own `max_packet_size` should say so.

**Answers.** Each device has its last command's: `command_id` (the command's timestamp), `command_metric`,
`command_result`, `command_detail`; each answer is a message of its own with all four. `accepted`: taken by the pump.
Then, by what the gate shows at least two control periods later: `applied`, or `clamped` with the speed that the
safety layer allows and its reason. `rejected` with why: `invalid_state`, `out_of_range`, `retained`, `busy`, ...
`superseded`: a newer command of the same metric came before the wire showed this one. A ramp is waited for;
`unconfirmed`: nothing was seen for 600 s. A `scada_heartbeat` that is taken has no answer.

The specification's test ids and how each is proved stand in `tests/wire/sparkplug/tck.py`.

### Metrics of a station with one pump
"""

_OWN: Final = {
    "command_id": "Timestamp of the last command",
    "command_metric": "What it was written to",
    "command_result": "accepted, clamped, rejected, applied, superseded or unconfirmed",
    "command_detail": "Why, or what the safety layer made of it",
    "backfill_waiting": "Values that no host has been given yet",
    "backfill_lost": "Values lost for lack of room, ever",
}


def document() -> str:
    """Return the page."""
    return "\n".join(_lines())


_JUDGED: Final = """\
## The quality of what controllers write

One judgement on every wire, in REST and in the stream, and the one that control itself goes by: GOOD or BAD.
BAD is what was never written, is older than `control.feedback_stale_s`, cannot be (a register full of ones, a
level outside its well, power or flow beyond three times the rated), or stands still to the last bit for
`control.feedback_frozen_s` while the pump runs (a speed only if the setpoint moved meanwhile); of
`plc_heartbeat` what did not move for `control.plc_heartbeat_s`. The number that the controller wrote stays
visible beside it. OPC UA: the status code; Modbus: the bit `good_...`; Sparkplug: the property `Quality`;
REST: `quality`, with `why`. An endpoint that was restarted takes a frozen value for GOOD until it has watched
it that long itself. `scada_heartbeat` is BAD when stale.
"""


def _lines() -> Iterator[str]:
    yield _INTRODUCTION
    yield from _codes("Modes (`mode`)", Mode)
    yield from _codes("Qualities (`setpoint_quality`)", Quality)
    yield _JUDGED
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
    yield "## What only Modbus has of that pump\n"
    yield (
        "Every register above stands as input register at the same address, too. Who may write what:"
        " [modbus.md](modbus.md).\n"
    )
    yield "| path | access | Modbus table | address | raw | scale | unit | meaning |"
    yield "|---|---|---|---|---|---|---|---|"
    shared = {point.path for point in site_points(_EXAMPLE)}
    for point in modbus_points(_EXAMPLE):
        if point.path in shared:
            continue
        place = point.places[0]
        row = (
            f"`{point.path}`", point.access.value, place.table, place.address, place.raw, f"{place.scale:g}",
            point.unit, point.description,
        )  # fmt: skip
        yield "| " + " | ".join(str(cell) for cell in row) + " |"
    yield ""
    yield "## What operators write on OPC UA\n"
    yield "Methods, alarms and history are in [opcua.md](opcua.md).\n"
    yield "| path | type | unit | access | meaning |"
    yield "|---|---|---|---|---|"
    for point in operator_points(_EXAMPLE):
        yield (
            f"| `{point.path}` | {point.type.value} | {point.unit} | {point.access.value} | {point.description} |"
        )
    yield ""
    yield _SPARKPLUG
    yield "| device | metric | type | unit | command | meaning |"
    yield "|---|---|---|---|---|---|"
    for definition in definitions(sparkplug_points(_EXAMPLE)).values():
        told = by_key(definition.properties)
        columns = (
            f"`{definition.device}`" if definition.device else "the node", f"`{definition.name}`",
            definition.datatype.name, told.get("engUnit", ""), "yes" if definition.writable else "",
            told.get("documentation") or _OWN[definition.name],
        )  # fmt: skip
        yield "| " + " | ".join(str(cell) for cell in columns) + " |"
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
