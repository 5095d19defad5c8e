"""`python -m ops.bench.logins`: stops and control under a flood of logins, on a run of this machine (SEC-1, EST-4).

Many connections from several addresses try names and passwords as fast as they are answered, from a process of their
own. Meanwhile a whole site is stopped by REST and by coil, again and again, and seen on both wires by other clients;
and the endpoints say how long setpoints took to them. Both are measured before the flood as well. The flood comes from
127.0.0.x: this machine's own addresses are exempt from the limits of connections and requests, so it is the worst case.
"""

from __future__ import annotations

import argparse
import asyncio
import http.client
import json
import multiprocessing
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from threading import Event, Lock, Thread
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec

from ops.bench import stops
from ops.bench.report import StopTime
from ops.bench.rest import to_wire_p99_ms
from ops.cli.client import call, credentials, running
from ops.cli.exits import DONE, FAILED, ExitError
from ops.rundir import RunFile

CONNECTIONS: Final = 32
ADDRESSES: Final = 16
STOPS: Final = 10
# EST-1: on the wire of every living endpoint within that.
STOP_MS_MAX: Final = 1_000.0
_SECONDS: Final = 60.0
_LOGIN_S: Final = 30.0
_TOO_MANY: Final = "429"
_LOST: Final = "lost"


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """What was measured at one time: tick to wire by endpoint (p99, ms), and stops by way and wire."""

    to_wire_p99_ms: dict[str, float]
    stops: tuple[StopTime, ...]

    @property
    def slowest_ms(self) -> float:
        """The longest of all stops; infinite if none was measured."""
        return max((each.summary.max_ms for each in self.stops if each.summary), default=float("inf"))


class Flooded(msgspec.Struct, frozen=True, kw_only=True):
    """Before and during a flood; `answers` counts the logins by status, `per_s` how many were tried a second."""

    before: Seen
    during: Seen
    answers: dict[str, int]
    per_s: float

    @property
    def is_good(self) -> bool:
        """Whether the flood was limited, and every stop kept EST-1 meanwhile."""
        return self.during.slowest_ms <= STOP_MS_MAX and self.answers.get(_TOO_MANY, 0) > 0


def table(flooded: Flooded) -> str:
    """Return the figures as they are printed."""
    counted = ", ".join(f"{status}: {count}" for status, count in sorted(flooded.answers.items()))
    lines = [
        f"logins tried: {flooded.per_s:.0f}/s ({counted})",
        f"{'':<46}{'before':>18}{'during the flood':>18}",
    ]
    for name in sorted({*flooded.before.to_wire_p99_ms, *flooded.during.to_wire_p99_ms}):
        cells = [
            f"{each.to_wire_p99_ms[name]:.1f}" if name in each.to_wire_p99_ms else "not known"
            for each in (flooded.before, flooded.during)
        ]
        lines.append(f"{f'tick to {name}, p99 (ms)':<46}{cells[0]:>18}{cells[1]:>18}")
    during = {(each.way, each.wire): each.summary for each in flooded.during.stops}
    for row in flooded.before.stops:
        cells = [
            f"{each.p50_ms:.1f} / {each.max_ms:.1f}" if each else "not known"
            for each in (row.summary, during.get((row.way, row.wire)))
        ]
        what = f"stop by {row.way} to {row.wire}, p50 / max (ms)"
        lines.append(f"{what:<46}{cells[0]:>18}{cells[1]:>18}")
    if not flooded.is_good:
        lines.append(f"NOT GOOD: a stop took over {STOP_MS_MAX:g} ms, or nobody was told to wait")
    return "\n".join(lines)


def flood(base: str, connections: int, addresses: int, pipe: Connection) -> None:
    """Try logins by so many connections until something comes by `pipe`; answer how often which status came."""
    where = urlsplit(base)
    counted: Counter[str] = Counter()
    over, lock = Event(), Lock()

    def one(number: int) -> None:
        own: Counter[str] = Counter()
        source = f"127.0.0.{2 + number % addresses}"
        # Every second one guesses at the administrator, who exists; the others invent names.
        body = json.dumps({"user": "admin" if number % 2 else f"guest-{number}", "password": "not this one"})
        while not over.is_set():
            own[_tried(where.hostname or "", where.port or 80, source, body, over)] += 1
        with lock:
            counted.update(own)

    threads = [Thread(target=one, args=(number,)) for number in range(connections)]
    began_s = time.monotonic()
    for thread in threads:
        thread.start()
    pipe.recv()
    over.set()
    for thread in threads:
        thread.join()
    pipe.send((dict(counted), sum(counted.values()) / (time.monotonic() - began_s)))


def _tried(host: str, port: int, source: str, body: str, over: Event) -> str:
    """Log in on one connection until it ends; return the last status, or that it was lost."""
    connection = http.client.HTTPConnection(host, port, timeout=_LOGIN_S, source_address=(source, 0))
    try:
        connection.request("POST", "/api/v1/auth/login", body, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        answer.read()
    except (OSError, http.client.HTTPException):
        over.wait(0.05)  # no sockets left here, perhaps: the flood shall not drown itself
        return _LOST
    finally:
        connection.close()
    return str(answer.status)


def measure(run: RunFile, headers: Mapping[str, str], *, connections: int, addresses: int) -> Flooded:
    """Measure before and during a flood.

    Raises:
        DeviceError: an endpoint or the API does not answer, or a stop was not on a wire in time.

    """
    rows: list[dict[str, Any]] = call(run.rest, "GET", "/api/v1/tags", timeout_s=10.0, headers=dict(headers))
    before = _looked(run, rows, headers)
    context = multiprocessing.get_context("spawn")
    own, others = context.Pipe()
    process = context.Process(target=flood, args=(run.rest, connections, addresses, others), daemon=True)
    process.start()
    try:
        during = _looked(run, rows, headers)
        own.send("enough")
        answers, per_s = own.recv()
    finally:
        process.kill()
        process.join()
    return Flooded(before=before, during=during, answers=answers, per_s=per_s)


def _looked(run: RunFile, rows: Sequence[dict[str, Any]], headers: Mapping[str, str]) -> Seen:
    began_s = time.monotonic()
    stopped = asyncio.run(stops.measure(run, rows, count=STOPS, headers=headers))
    # The endpoints tell of their last minute.
    time.sleep(max(0.0, _SECONDS - (time.monotonic() - began_s)))
    detail = call(run.health, "GET", "/health/detail", timeout_s=10.0)
    return Seen(to_wire_p99_ms=to_wire_p99_ms(detail), stops=stopped)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure the run of `--data-dir`, print, and say by the exit code whether stops went through the flood.

    Raises:
        ExitError: nothing runs there, or it does not answer.

    """
    parser = argparse.ArgumentParser(prog="python -m ops.bench.logins", description=__doc__)
    parser.add_argument("--data-dir", type=Path, default=Path(".calejo"))
    parser.add_argument("--connections", type=int, default=CONNECTIONS)
    parser.add_argument("--addresses", type=int, default=ADDRESSES)
    given = parser.parse_args(arguments)
    flooded = measure(
        running(given.data_dir),
        credentials(given.data_dir),
        connections=given.connections,
        addresses=given.addresses,
    )
    print(table(flooded))
    return DONE if flooded.is_good else FAILED


if __name__ == "__main__":
    try:
        sys.exit(main())
    except ExitError as error:
        print(f"calejo: {error.line}", file=sys.stderr)
        sys.exit(error.code)
