"""The Structured Text, read by parsers and compilers of somebody else's make, and run against the demo's controller.

blark (PyPI) parses it in every run. MATIEC's iec2c, an IEC 61131-3 compiler to C, is packaged by nobody that `make
services` could ask: where it is on PATH (its library beside it, or named by IEC2C_LIB), the block is compiled and run.
"""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from ops.demo.plc import Block, PumpMemory, Retained, obeys, receive, reset_at_panel
from ops.kit.plc import function_block, structured_text
from ops.kit.tags import only, tags_of
from protocols.points import tags
from tests.unit.protocols.plants import site, station

pytestmark = [pytest.mark.wire, pytest.mark.system("ops.plc")]

SCANS = 400
SEEDS = 60
SCAN_S = 0.5

CONFIGURATION = """
CONFIGURATION C
  RESOURCE R ON PLC
    TASK T(INTERVAL := T#100ms, PRIORITY := 0);
    PROGRAM I WITH T : {program};
  END_RESOURCE
END_CONFIGURATION
"""
MAIN = "PROGRAM MAIN\nVAR\n  P : CALEJO_PUMP;\nEND_VAR\nP();\nEND_PROGRAM\n"

# Reads a scan per line, calls the block, prints what it says; `reboot` keeps the retained variables only.
HARNESS = r"""
#include <stdio.h>
#include <string.h>
#include "iec_std_lib.h"
TIME __CURRENT_TIME; BOOL __DEBUG;
#include "POUS.h"
#include "POUS.c"
int main(void) {
  CALEJO_PUMP p; CALEJO_PUMP_init__(&p, 0);
  unsigned b[13], fresh, reset, hand, running, ok, reboot; double t, hand_hz, local_hz, actual, power, level;
  while (scanf("%lf %u %u %u %u %u %u %lf %lf %lf %lf %lf", &t, &fresh, &reset, &hand, &running, &ok, &reboot,
               &hand_hz, &local_hz, &actual, &power, &level) == 12) {
    for (int i = 0; i < 13; i++) if (scanf("%u", &b[i]) != 1) return 1;
    if (reboot) {
      BOOL inhibit = p.KEPT_INHIBIT.value; UDINT release = p.KEPT_RELEASE_ID.value, epoch = p.KEPT_EPOCH.value;
      memset(&p, 0, sizeof p); CALEJO_PUMP_init__(&p, 0);
      p.KEPT_INHIBIT.value = inhibit; p.KEPT_RELEASE_ID.value = release; p.KEPT_EPOCH.value = epoch;
    }
    __CURRENT_TIME.tv_sec = (long)t; __CURRENT_TIME.tv_nsec = (long)((t - (long)t) * 1e9 + 0.5);
    for (int i = 0; i < 13; i++) p.BLOCK.value.table[i] = b[i];
    p.BLOCK_NEW.value = fresh; p.PANEL_RESET.value = reset; p.HAND.value = hand; p.HAND_HZ.value = hand_hz;
    p.LOCAL_HZ.value = local_hz; p.PROTECTION_OK.value = ok; p.ACTUAL_HZ.value = actual; p.RUNNING.value = running;
    p.POWER_KW.value = power; p.LEVEL_M.value = level; p.SCAN_S.value = 0.5;
    CALEJO_PUMP_body__(&p);
    printf("%d %u %u %d %d %.4f %u %u", p.KEPT_INHIBIT.value, p.KEPT_RELEASE_ID.value, p.KEPT_EPOCH.value,
           p.SOURCE.value, p.INHIBITED.value, p.COMMAND_HZ.value, p.TORN_COUNT.value, p.OLD_EPOCH_COUNT.value);
    for (int i = 0; i < 13; i++) printf(" %u", p.REPORT.value.table[i]);
    printf("\n");
  }
  return 0;
}
"""


def plant_text(station_id: str = "s-1") -> str:
    plant = site(station(station_id, 7, {"p1": 0, "2nd-pump": 1, "p1-block": 250}))
    return structured_text(only(tags_of(tags(plant)), station_id=station_id))


# A process of its own: the parser is GPL, and nothing of ours is linked with it.
_PARSE = """
import sys
import blark
parsed = blark.parse_source_code(sys.stdin.read()).transform()
print(*(str(getattr(item, "name", "")) for item in parsed.items))
"""


def parsed(text: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "ignore", "-c", _PARSE],
        input=text, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


@pytest.mark.parametrize("text", [function_block(), plant_text()], ids=["block", "station"])
def test_a_foreign_parser_reads_it(text: str) -> None:
    """WDG-4: function block and station program are Structured Text for blark as well."""
    read = parsed(text)
    assert read.returncode == 0, read.stderr
    assert "CALEJO_PUMP" in read.stdout.split()


def test_the_foreign_parser_does_refuse() -> None:
    """WDG-4: a block with one END_IF too few is no Structured Text."""
    refused = parsed(function_block().replace("END_IF;", "", 1))
    assert refused.returncode == 1
    assert "not successfully parsed" in refused.stderr


@pytest.fixture(scope="module")
def iec2c() -> tuple[Path, Path]:
    """The compiler and its library."""
    found = Path(shutil.which("iec2c") or "iec2c")
    library = Path(os.environ.get("IEC2C_LIB") or found.resolve().parent / "lib")
    if not (found.is_file() and (library / "C" / "iec_std_lib.h").is_file() and shutil.which("gcc")):
        pytest.skip("iec2c (MATIEC) with its library and gcc: not here, and no package brings it")
    return found, library


def compile_text(tools: tuple[Path, Path], text: str, folder: Path, program: str) -> None:
    source = folder / "source.st"
    source.write_text(text + CONFIGURATION.format(program=program))
    ran = subprocess.run(
        [tools[0], "-I", tools[1], source],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr


def test_a_compiler_takes_block_and_station(iec2c: tuple[Path, Path], tmp_path: Path) -> None:
    """WDG-4: a compiler of the standard's own dialect finds no fault."""
    compile_text(iec2c, plant_text(), tmp_path, "CALEJO_STATION_S_1")
    broken = plant_text().replace("KEPT_INHIBIT := TRUE", "KEPT_INHIBIT := 7.5")
    with pytest.raises(AssertionError):
        compile_text(iec2c, broken, tmp_path, "CALEJO_STATION_S_1")


class Scan:
    """One scan: what the block is given."""

    def __init__(self, dice: random.Random, block: Block | None, *, registers: Sequence[int]) -> None:
        self.block, self.registers = block, registers
        self.reset = dice.random() < 0.01
        self.reboot = dice.random() < 0.01
        self.hand = dice.random() < 0.05
        self.running = dice.random() < 0.6
        self.ok = dice.random() < 0.95
        self.local_hz = dice.choice([0.0, 40.0])
        self.actual_hz = dice.uniform(15, 50) if self.running else 0.0
        self.power_kw, self.level_m = dice.uniform(-50, 500), dice.uniform(-1.0, 6.0)

    def line(self, t_s: float) -> str:
        flags = [self.block is not None, self.reset, self.hand, self.running, self.ok, self.reboot]
        numbers = [30.0, self.local_hz, self.actual_hz, self.power_kw, self.level_m]
        return " ".join(
            [f"{t_s:.1f}", *(str(int(flag)) for flag in flags), *(f"{number:.4f}" for number in numbers),
             *(str(register) for register in self.registers)]
        )  # fmt: skip


def story(seed: int) -> list[Scan]:
    """Blocks as a chain with faults would write them: epochs and releases go up and down, some are torn or late."""
    dice = random.Random(seed)
    scans: list[Scan] = []
    sequence, heartbeat, epoch, release = 65_530, 65_530, 70_000, 70_000
    silent = 0
    for _ in range(SCANS):
        silent = max(0, silent - 1) if dice.random() > 0.01 else dice.randint(5, 40)
        if dice.random() < 0.8 and not dice.random() < 0.1:
            heartbeat = (heartbeat + (silent == 0)) % 65_536
            sequence = (sequence + 1) % 65_536
        epoch += dice.choice([0] * 40 + [1, 65_536])
        release += dice.choice([0] * 15 + [1])
        block = Block(
            sequence=sequence,
            sequence_end=sequence if dice.random() > 0.05 else sequence ^ 1,
            remote_enabled=dice.random() > 0.1,
            run_inhibit=dice.random() < 0.1,
            setpoint_hz=dice.choice([0.0, 22.0, 35.25, 80.0]),
            setpoint_quality=dice.choice([0, 1, 2, 2, 2]),
            heartbeat=heartbeat,
            epoch=epoch - dice.choice([0] * 12 + [1, 65_536]),
            release_id=release - dice.choice([0] * 6 + [1]),
        )
        registers = [
            block.sequence, int(block.remote_enabled), int(block.run_inhibit), round(block.setpoint_hz * 100),
            block.setpoint_quality, block.heartbeat, block.epoch >> 16, block.epoch & 0xFFFF, block.release_id >> 16,
            block.release_id & 0xFFFF, block.reason, block.sequence_end, 1,
        ]  # fmt: skip
        scans.append(Scan(dice, block if dice.random() > 0.3 else None, registers=registers))
    return scans


def expected(scans: Sequence[Scan]) -> list[tuple[Any, ...]]:
    """What the demo's controller, the reference, says to the same scans."""
    pump, told, reset_before = PumpMemory(), [], False
    counted = (0, 0)
    for number, scan in enumerate(scans):
        now_s = (number + 1) * SCAN_S
        if scan.reboot:
            pump, reset_before = PumpMemory(retained=pump.retained), False
        if scan.reset and not reset_before:
            pump = reset_at_panel(pump)
        reset_before = scan.reset
        if scan.block is not None:
            pump = receive(pump, scan.block, now_s=now_s)
        source = 2 if scan.hand else 1 if obeys(pump, now_s=now_s) else 0
        if source == 2:
            wanted_hz = 30.0
        elif pump.retained.inhibited and (source == 0 or not scan.running):
            wanted_hz = 0.0
        else:
            wanted_hz = pump.block.setpoint_hz if source == 1 else scan.local_hz
        counted = (pump.torn, pump.old_epochs)
        kept: Retained = pump.retained
        stopped = wanted_hz <= 0 or not scan.ok
        told.append(
            (
                kept.inhibited,
                kept.release_id,
                kept.epoch,
                source,
                stopped,
                *counted,
                round(pump.echo_hz * 100),
            )
        )
    return told


def test_the_block_decides_as_the_reference(iec2c: tuple[Path, Path], tmp_path: Path) -> None:
    """WDG-4, EST-6, SAF-11: retained stop, release, epoch, lease, source, stop, echo: the same in every scan of many
    random lives, reboots and resets included.
    """
    compile_text(iec2c, function_block() + MAIN, tmp_path, "MAIN")
    (tmp_path / "harness.c").write_text(HARNESS)
    subprocess.run(
        ["gcc", "-w", "-I", iec2c[1] / "C", "-o", "block", "harness.c", "-lm"],
        cwd=tmp_path,
        check=True,
        timeout=60,
    )
    for seed in range(SEEDS):
        scans = story(seed)
        lines = "\n".join(scan.line((number + 1) * SCAN_S) for number, scan in enumerate(scans))
        ran = subprocess.run(
            [tmp_path / "block"], input=lines, capture_output=True, text=True, timeout=30, check=True
        )
        answers = [line.split() for line in ran.stdout.splitlines()]
        assert len(answers) == len(scans)
        before_hz = 0.0
        for number, (scan, cells, wanted) in enumerate(zip(scans, answers, expected(scans), strict=True)):
            place = f"seed {seed}, scan {number}"
            inhibited, release, epoch, source, shown, command, torn, old = cells[:8]
            command_hz = float(command)
            report = [int(cell) for cell in cells[8:]]
            said = (
                inhibited == "1", int(release), int(epoch), int(source), command_hz == 0.0, int(torn), int(old),
                report[2],
            )  # fmt: skip
            assert said == wanted, place
            assert shown == inhibited, place
            assert command_hz == 0.0 or 15.0 <= command_hz <= 55.0, place
            if command_hz and before_hz and not scan.reboot:
                near = scan.actual_hz if scan.running else before_hz
                assert min(abs(command_hz - before_hz), abs(command_hz - near)) <= 2.5 + 1e-3, place
            before_hz = command_hz
            assert report[11] == scan.running, place
            for first, value, scale in ((4, scan.power_kw, 0.01), (8, scan.level_m, 0.001)):
                raw = report[first] << 16 | report[first + 1]
                assert abs((raw - (raw >> 31 << 32)) * scale - value) <= scale, place
