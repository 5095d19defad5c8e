"""The judge of the chaos tests: what it must find is found, and nothing else."""

from __future__ import annotations

import socket
import struct
import threading
import time
from contextlib import closing

import pytest

from tests.chaos.wire_log import RATE_HZ_MIN, REGISTERS, Place, Sample, WireLog, findings, heartbeats, lapses
from tests.program import until

pytestmark = [pytest.mark.chaos, pytest.mark.system("chaos.judge")]

PLACE = Place("s1", "p1", 1, 100, min_hz=20.0, max_hz=50.0, rate_hz_per_s=2.0)


def sample(t_s: float, setpoint_hz: float, **changes: object) -> Sample:
    values: dict[str, object] = {
        "t_s": t_s, "pump_id": "p1", "sequence": 7, "enabled": True, "inhibit": False,
        "setpoint_hz": setpoint_hz, "quality": 2, "heartbeat": 1, "epoch": 5, "release_id": 1, "reason": 1,
        "sequence_end": 7, "actual_hz": 0.0, "level_m": 1.0,
    }  # fmt: skip
    return Sample(**(values | changes))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "samples",
    [
        [sample(0.0, 30.0), sample(0.02, 32.0)],
        [sample(0.0, 0.0), sample(0.02, 20.0)],
        [sample(0.0, 20.0), sample(0.02, 0.0)],
        [sample(0.0, 45.0), sample(0.02, 0.0, reason=13)],
        [sample(0.0, 45.0, enabled=False), sample(0.02, 20.0)],
        [sample(0.0, 30.0), sample(3.0, 37.0)],
    ],
    ids=["ramp", "start", "stop", "dry run", "hand-over", "ramps across a gap"],
)
def test_what_the_rules_allow_is_no_finding(samples: list[Sample]) -> None:
    """SAF-2.10: a tick's ramp, start and stop steps, protective stops, and anything while nothing is claimed."""
    assert not list(findings(samples, PLACE))


@pytest.mark.parametrize(
    ("samples", "told"),
    [
        ([sample(0.0, 19.99)], "outside"),
        ([sample(0.0, 50.01)], "outside"),
        ([sample(0.0, 30.0, enabled=False, sequence_end=8)], "torn"),
        ([sample(0.0, 30.0), sample(0.02, 32.3)], "a step of 2.30 Hz"),
        ([sample(0.0, 30.0), sample(0.02, 0.0)], "a step of 30.00 Hz"),
        ([sample(0.0, 0.0), sample(0.02, 22.0)], "a step of 22.00 Hz"),
        ([sample(0.0, 30.0), sample(3.0, 39.0)], "a step of 9.00 Hz"),
        ([sample(0.0, 30.0), sample(0.02, 30.0, epoch=4)], "epoch went back"),
    ],
)
def test_what_they_forbid_is_found(samples: list[Sample], told: str) -> None:
    """SAF-2, SAF-11: outside the band, torn, too large a step in either direction, an older epoch."""
    (found,) = findings(samples, PLACE)
    assert told in found.text
    assert found.t_s == samples[-1].t_s


def test_moves_of_the_heartbeat_and_lapses_are_dated() -> None:
    """WDG-4, SAF-9: each is told with the moment at which it was seen."""
    samples = [
        sample(0.0, 30.0),
        sample(1.0, 30.0, heartbeat=2),
        sample(2.0, 30.0, heartbeat=2, enabled=False),
    ]
    assert heartbeats(samples) == [1.0]
    assert lapses(samples) == [2.0]


def test_a_server_that_answers_slowly_is_sampled_too_slowly_and_one_that_is_gone_leaves_a_gap() -> None:
    """SUP-8: goal: the sampler's own rate is measured, so that a test can refuse to judge what was hardly seen."""
    pause_s = 1.5 / RATE_HZ_MIN
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        threading.Thread(target=_answer_slowly, args=(server, pause_s), daemon=True).start()
        with WireLog("127.0.0.1", server.getsockname()[1], (PLACE,)) as log:
            until(lambda: log.seconds > 1.0, within_s=10, what="a second of samples")
            until(
                lambda: log.gaps, within_s=10, what="a gap: the server hangs up after 40 answers and returns"
            )
            began_s = log.of("p1")[0].t_s
            assert log.rate_hz(began_s, log.gaps[0][0]) < RATE_HZ_MIN
            assert log.gaps[0][0] > began_s
            begin, end = log.gaps[0]
            assert end - begin == pytest.approx(HANGS_UP_S, abs=0.3)
            assert log.rate_hz(begin - 0.5, time.monotonic()) > 0.0


HANGS_UP_S = 0.5


def _answer_slowly(server: socket.socket, pause_s: float) -> None:
    registers = struct.pack(f">{REGISTERS}H", *[0] * REGISTERS)
    for _ in range(2):
        connection, _ = server.accept()
        with connection:
            for _ in range(40):
                request = connection.recv(12)
                if len(request) < 12:
                    return
                time.sleep(pause_s)
                connection.sendall(
                    request[:4] + struct.pack(">HBBB", 3 + len(registers), 1, 3, len(registers)) + registers
                )
        time.sleep(HANGS_UP_S)
