"""A station's controller, pure: obeys Calejo's handshake block, retains stops, and pumps on its own levels
otherwise.

This is the law that a real controller at a station must have (WDG-4, EST-6, SAF-11). It trusts nothing but
what the block says: a copy of the setpoint needs a fresh heartbeat, a remembered stop outlives Calejo, power
failures and reboots, and the drive's limits and the dry cut-out are its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum, unique
from typing import Final

import msgspec

from ops.demo.catalogue import DRIVE_MAX_HZ, DemoStation

HEARTBEAT_S: Final = 10.0
_BAD: Final = 0


class Block(msgspec.Struct, frozen=True, kw_only=True):
    """The handshake block of one pump as one read returned it; setpoint in Hz."""

    sequence: int = 0
    sequence_end: int = 0
    remote_enabled: bool = False
    run_inhibit: bool = False
    setpoint_hz: float = 0.0
    setpoint_quality: int = 0
    heartbeat: int = 0
    epoch: int = 0
    release_id: int = 0
    reason: int = 0


class Retained(msgspec.Struct, frozen=True, kw_only=True):
    """What the controller remembers without power: a stop and the release it must see exceeded, the newest
    epoch.
    """

    inhibited: bool = False
    release_id: int = 0
    epoch: int = 0


@unique
class Source(StrEnum):
    """Who commands a pump."""

    REMOTE = "remote"
    LOCAL = "local"
    PANEL = "panel"


class PumpPanel(msgspec.Struct, frozen=True, kw_only=True):
    """The switches at the panel: hand operation (Hz; None: automatic)."""

    hand_hz: float | None = None


class PumpMemory(msgspec.Struct, frozen=True, kw_only=True):
    """What the controller knows of one pump; only `retained` outlives a reboot."""

    retained: Retained = Retained()
    block: Block = Block()
    echo_hz: float = 0.0
    heartbeat_at_s: float | None = None
    heard: bool = False
    torn: int = 0
    old_epochs: int = 0
    command_hz: float = 0.0
    source: Source = Source.LOCAL


class Memory(msgspec.Struct, frozen=True, kw_only=True):
    """What the controller knows of its station; `duty` is the pump that starts first, `dry` its cut-out."""

    pumps: tuple[PumpMemory, ...]
    duty: int = 0
    wanted: int = 0
    dry: bool = False


def fresh_memory(station: DemoStation, retained: Sequence[Retained] = ()) -> Memory:
    """Return the memory right after power-up."""
    kept = retained or [Retained()] * len(station.pumps)
    return Memory(pumps=tuple(PumpMemory(retained=each) for each in kept))


def receive(pump: PumpMemory, block: Block, *, now_s: float) -> PumpMemory:
    """Take a block that was read: torn ones and old epochs change nothing but that a stop is always
    remembered.
    """
    if block.sequence != block.sequence_end:
        return msgspec.structs.replace(pump, torn=pump.torn + 1)
    retained = pump.retained
    current = block.epoch >= retained.epoch
    if block.run_inhibit:
        # Also of an old epoch: what lets go has to be newer than this stop was read with.
        release_id = max(retained.release_id, block.release_id)
        retained = msgspec.structs.replace(retained, inhibited=True, release_id=release_id)
    if not current:
        return msgspec.structs.replace(pump, retained=retained, old_epochs=pump.old_epochs + 1)
    if retained.inhibited and not block.run_inhibit and block.release_id > retained.release_id:
        retained = msgspec.structs.replace(retained, inhibited=False, release_id=block.release_id)
    retained = msgspec.structs.replace(retained, epoch=block.epoch)
    moved = pump.heard and block.heartbeat != pump.block.heartbeat
    return msgspec.structs.replace(
        pump,
        retained=retained,
        block=block,
        echo_hz=block.setpoint_hz,
        heartbeat_at_s=now_s if moved else pump.heartbeat_at_s,
        heard=True,
    )


def reset_at_panel(pump: PumpMemory) -> PumpMemory:
    """Forget stop and epoch: a person stands in front of the panel and has looked."""
    return msgspec.structs.replace(pump, retained=Retained(), heard=False, heartbeat_at_s=None)


def obeys(pump: PumpMemory, *, now_s: float) -> bool:
    """Say whether the setpoint may be copied: enabled, not BAD, heartbeat moved within the last 10 s."""
    block, moved_s = pump.block, pump.heartbeat_at_s
    alive = moved_s is not None and now_s - moved_s <= HEARTBEAT_S
    return pump.heard and alive and block.remote_enabled and block.setpoint_quality != _BAD


def scan(
    station: DemoStation,
    memory: Memory,
    *,
    level_m: float,
    high_float: bool,
    speeds_hz: Sequence[float],
    panels: Mapping[str, PumpPanel],
    now_s: float,
) -> Memory:
    """Run one scan cycle: decide every pump's command (Hz) from measured level, float, block and panel."""
    wanted = _pumps_wanted(station, memory.wanted, level_m=level_m, high_float=high_float)
    panel = [panels.get(pump.pump_id, PumpPanel()) for pump in station.pumps]
    sources = [
        Source.PANEL
        if panel[index].hand_hz is not None
        else Source.REMOTE
        if obeys(pump, now_s=now_s)
        else Source.LOCAL
        for index, pump in enumerate(memory.pumps)
    ]
    # A float that is closed outranks an analogue level that says dry.
    dry_below_m = station.dry_reset_m if memory.dry else station.dry_cut_out_m
    dry = level_m <= dry_below_m and not high_float
    commands = [0.0] * len(memory.pumps)
    for index, pump in enumerate(memory.pumps):
        match sources[index]:
            case Source.PANEL:
                commands[index] = panel[index].hand_hz or 0.0
            case Source.REMOTE:
                commands[index] = _remote_hz(pump, running=speeds_hz[index] > 0.0)
            case Source.LOCAL:
                pass
    _give_to_local(station, memory, sources, commands, wanted=wanted, high_float=high_float)
    if dry:
        commands = [0.0] * len(commands)
    return Memory(
        pumps=tuple(
            msgspec.structs.replace(pump, command_hz=commands[index], source=sources[index])
            for index, pump in enumerate(memory.pumps)
        ),
        # Alternate when a pumping cycle of our own has ended, so that the pumps wear alike.
        duty=(memory.duty + 1) % len(memory.pumps) if memory.wanted and not wanted else memory.duty,
        wanted=wanted,
        dry=dry,
    )


def _remote_hz(pump: PumpMemory, *, running: bool) -> float:
    if pump.retained.inhibited and not running:
        return 0.0
    return min(max(pump.block.setpoint_hz, 0.0), DRIVE_MAX_HZ)


def _pumps_wanted(station: DemoStation, before: int, *, level_m: float, high_float: bool) -> int:
    """Return how many pumps the level asks for; each start level adds one, the stop level ends them all."""
    if high_float:
        return station.max_pumps_running
    if level_m <= station.local_stop_m:
        return 0
    reached = sum(level_m >= start_m for start_m in station.local_start_m)
    return min(max(before, reached), station.max_pumps_running)


def _give_to_local(
    station: DemoStation,
    memory: Memory,
    sources: Sequence[Source],
    commands: list[float],
    *,
    wanted: int,
    high_float: bool,
) -> None:
    """Start our own pumps in duty order until as many run as the level wants; a remembered stop passes its
    turn.
    """
    count = len(memory.pumps)
    missing = wanted - sum(command > 0.0 for command in commands)
    for turn in range(count):
        index = (memory.duty + turn) % count
        if missing <= 0:
            return
        if sources[index] is Source.LOCAL and not memory.pumps[index].retained.inhibited:
            commands[index] = DRIVE_MAX_HZ - 5.0 if high_float else station.local_speed_hz
            missing -= 1
