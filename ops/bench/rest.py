"""`python -m ops.bench.rest`: read endpoints under 50 connections while control runs, by wrk against a run (API-4).

wrk is no part of Calejo (Debian: `apt-get install wrk`). What is measured is what somebody else sees: the latency of
whole answers, and beside it how long setpoints took to the wires in the same minute, without and with that load.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from ops.cli.client import call, credentials, running
from ops.cli.exits import DONE, FAILED, ExitError

CONNECTIONS: Final = 50
P99_MS_MAX: Final = 200.0
PATHS: Final = (
    "/api/v1/alive",
    "/api/v1/pumps",
    "/api/v1/stations",
    "/api/v1/alarms",
    "/api/v1/emergency-stops",
    "/api/v1/tags",
    "/api/v1/tree",
)
_MS: Final = {"us": 0.001, "ms": 1.0, "s": 1_000.0, "m": 60_000.0}
_SHARE: Final = re.compile(r"^\s+(50|99)%\s+([0-9.]+)(us|ms|s|m)\s*$", re.MULTILINE)
_RATE: Final = re.compile(r"^Requests/sec:\s+([0-9.]+)\s*$", re.MULTILINE)
_FAILED: Final = re.compile(r"^\s+Non-2xx or 3xx responses: ([0-9]+)\s*$", re.MULTILINE)
_SOCKETS: Final = re.compile(r"^\s+Socket errors: (.*)$", re.MULTILINE)


class Loaded(msgspec.Struct, frozen=True, kw_only=True):
    """One path under load; `refused` answers were no 2xx or 3xx, `errors` are wrk's words for lost connections."""

    path: str
    per_s: float
    p50_ms: float
    p99_ms: float
    refused: int
    errors: str
    to_wire_p99_ms: dict[str, float]

    @property
    def is_good(self) -> bool:
        """Whether it keeps API-4."""
        return self.p99_ms < P99_MS_MAX and not self.refused and not self.errors


def read(output: str, path: str, to_wire: Mapping[str, float]) -> Loaded:
    """Return the figures of one run of wrk.

    Raises:
        ExitError: (1) this is not what `wrk --latency` prints.

    """
    shares = {share: float(value) * _MS[unit] for share, value, unit in _SHARE.findall(output)}
    rate = _RATE.search(output)
    if rate is None or set(shares) != {"50", "99"}:
        raise ExitError(FAILED, f"wrk on {path}: {output.strip()[-300:]!r}, expected its table of latencies")
    refused, errors = _FAILED.search(output), _SOCKETS.search(output)
    return Loaded(
        path=path,
        per_s=float(rate[1]),
        p50_ms=shares["50"],
        p99_ms=shares["99"],
        refused=int(refused[1]) if refused else 0,
        errors=errors[1] if errors else "",
        to_wire_p99_ms=dict(to_wire),
    )


def table(idle: Mapping[str, float], rows: Sequence[Loaded]) -> str:
    """Return the figures as they are printed."""
    wires = ", ".join(f"{name} {value:.1f} ms" for name, value in sorted(idle.items()))
    lines = [
        f"tick to wire, p99, before: {wires or 'not known'}",
        f"{'path':<28}{'req/s':>9}{'p50 ms':>9}{'p99 ms':>9}  tick to wire, p99 (ms)",
    ]
    for row in rows:
        during = ", ".join(f"{name} {value:.1f}" for name, value in sorted(row.to_wire_p99_ms.items()))
        flaw = "" if row.is_good else f"  NOT GOOD: {row.refused} refused {row.errors}".rstrip()
        lines.append(f"{row.path:<28}{row.per_s:>9.0f}{row.p50_ms:>9.1f}{row.p99_ms:>9.1f}  {during}{flaw}")
    return "\n".join(lines)


def to_wire_p99_ms(detail: Mapping[str, Any]) -> dict[str, float]:
    """Return from `/health/detail` how long setpoints took to each endpoint in the last minute."""
    found = {}
    for name, endpoint in detail.get("endpoints", {}).items():
        took = endpoint.get("proposal_to_wire") if isinstance(endpoint, dict) else None
        if took:
            found[name.rpartition("/")[2]] = float(took["p99_ms"])
    return found


def _wrk(url: str, headers: Mapping[str, str], *, connections: int, seconds: int) -> str:
    # By a script and the environment: everybody on this machine can read a command line.
    names = [f"CALEJO_HEADER_{number}" for number in range(len(headers))]
    lines = [
        f'wrk.headers["{name}"] = os.getenv("{variable}")'
        for name, variable in zip(headers, names, strict=True)
    ]
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        script.write("\n".join(lines) + "\n")
        script.flush()
        command = ["wrk", "-t2", f"-c{connections}", f"-d{seconds}s", "--latency", "--timeout", "5s"]
        try:
            done = subprocess.run(
                [*command, "-s", script.name, url],
                capture_output=True,
                text=True,
                check=False,
                timeout=seconds + 30,
                env=os.environ | dict(zip(names, headers.values(), strict=True)),
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise ExitError(FAILED, f"wrk cannot be run: {error}") from error
    return done.stdout + done.stderr


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure the run of `--data-dir`, print, and say by the exit code whether every path keeps API-4.

    Raises:
        ExitError: nothing runs there, or wrk cannot be run.

    """
    parser = argparse.ArgumentParser(prog="python -m ops.bench.rest", description=__doc__)
    parser.add_argument("--data-dir", type=Path, default=Path(".calejo"))
    parser.add_argument("--seconds", type=int, default=20)
    parser.add_argument("--connections", type=int, default=CONNECTIONS)
    parser.add_argument("paths", nargs="*", default=list(PATHS))
    given = parser.parse_args(arguments)
    run = running(given.data_dir)
    shown = credentials(given.data_dir)

    def looked() -> dict[str, float]:
        return to_wire_p99_ms(call(run.health, "GET", "/health/detail", timeout_s=10.0))

    idle, rows = looked(), []
    for path in given.paths:
        output = _wrk(f"{run.rest}{path}", shown, connections=given.connections, seconds=given.seconds)
        rows.append(read(output, path, looked()))
    print(table(idle, rows))
    return DONE if all(row.is_good for row in rows) else FAILED


if __name__ == "__main__":
    try:
        sys.exit(main())
    except ExitError as error:
        print(f"calejo: {error.line}", file=sys.stderr)
        sys.exit(error.code)
