"""`python -m ops.bench.rest`: read endpoints under 50 connections while control runs, by wrk against a run (API-4).

wrk is no part of Calejo (Debian: `apt-get install wrk`). What is measured is what somebody else sees: the latency of
whole answers, and beside it how long setpoints took to the wires, in two idle minutes before and in the minute of that
load. An answer that names a part as silent counts as a refused one: it was quick because it says less.

By the run's own credential, or, with `--logins N`, by the tokens of N users who are made for it, log in as anybody
does, and are disabled at the end (a user may ask 100 times a second: ten for a thousand). They stay in the list of
users.
"""

from __future__ import annotations

import argparse
import os
import re
import secrets
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import msgspec

from actors.messages import LATENCY_WINDOW_S
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
    # These ask the database.
    "/api/v1/plans",
    "/api/v1/violations",
    "/api/v1/decisions/{pump}",
    "/api/v1/audit",
)
IDLE_S: Final = 2.0 * LATENCY_WINDOW_S
_MS: Final = {"us": 0.001, "ms": 1.0, "s": 1_000.0, "m": 60_000.0}
_SHARE: Final = re.compile(r"^\s+(50|99)%\s+([0-9.]+)(us|ms|s|m)\s*$", re.MULTILINE)
_RATE: Final = re.compile(r"^Requests/sec:\s+([0-9.]+)\s*$", re.MULTILINE)
_FAILED: Final = re.compile(r"^\s+Non-2xx or 3xx responses: ([0-9]+)\s*$", re.MULTILINE)
_SOCKETS: Final = re.compile(r"^\s+Socket errors: (.*)$", re.MULTILINE)
_SILENT: Final = re.compile(r"^answers that name a silent part: ([0-9]+)$", re.MULTILINE)
# Whose rows say who did not answer; looking into every other answer would measure wrk.
_TELLING: Final = ("/pumps", "/stations")
_SCRIPT: Final = """\
local shown, sent, threads = {headers}, 0, {{}}
silent = 0
function setup(thread) table.insert(threads, thread) end
function request()
  for name, variable in pairs(shown[sent % #shown + 1]) do wrk.headers[name] = os.getenv(variable) end
  sent = sent + 1
  return wrk.format()
end
"""
_LOOKING: Final = """\
function response(status, headers, body)
  if body:find('"unavailable":["', 1, true) then silent = silent + 1 end
end
function done(summary, latency, requests)
  local every = 0
  for _, thread in ipairs(threads) do every = every + thread:get("silent") end
  io.write(string.format("answers that name a silent part: %d\\n", every))
end
"""


class Loaded(msgspec.Struct, frozen=True, kw_only=True):
    """One path under load.

    `refused` answers were no 2xx or 3xx, `silent` ones named a part that did not answer, `errors` are wrk's words for
    lost connections.
    """

    path: str
    per_s: float
    p50_ms: float
    p99_ms: float
    refused: int
    errors: str
    to_wire_p99_ms: dict[str, float]
    silent: int = 0

    @property
    def is_good(self) -> bool:
        """Whether it keeps API-4."""
        return self.p99_ms < P99_MS_MAX and not self.refused and not self.silent and not self.errors


def read(output: str, path: str, to_wire: Mapping[str, float]) -> Loaded:
    """Return the figures of one run of wrk.

    Raises:
        ExitError: (1) this is not what `wrk --latency` prints.

    """
    shares = {share: float(value) * _MS[unit] for share, value, unit in _SHARE.findall(output)}
    rate = _RATE.search(output)
    if rate is None or set(shares) != {"50", "99"}:
        raise ExitError(FAILED, f"wrk on {path}: {output.strip()[-300:]!r}, expected its table of latencies")
    refused, errors, silent = _FAILED.search(output), _SOCKETS.search(output), _SILENT.search(output)
    return Loaded(
        path=path,
        per_s=float(rate[1]),
        p50_ms=shares["50"],
        p99_ms=shares["99"],
        refused=int(refused[1]) if refused else 0,
        errors=errors[1] if errors else "",
        to_wire_p99_ms=dict(to_wire),
        silent=int(silent[1]) if silent else 0,
    )


def head(idle: Mapping[str, float], idle_s: float) -> str:
    """Return what is printed before the load."""
    wires = ", ".join(f"{name} {value:.1f} ms" for name, value in sorted(idle.items()))
    return (
        f"tick to wire, p99, in {idle_s:g} s without this load: {wires or 'not known'}\n"
        f"{'path':<28}{'req/s':>9}{'p50 ms':>9}{'p99 ms':>9}  tick to wire, p99 (ms)"
    )


def line(row: Loaded) -> str:
    """Return the figures of a path as they are printed."""
    during = ", ".join(f"{name} {value:.1f}" for name, value in sorted(row.to_wire_p99_ms.items()))
    flaws = [
        f"{row.refused} refused" if row.refused else "",
        f"{row.silent} name a silent part" if row.silent else "",
        row.errors,
        f"p99 not below {P99_MS_MAX:g} ms" if row.p99_ms >= P99_MS_MAX else "",
    ]
    flaw = "" if row.is_good else f"  NOT GOOD: {', '.join(each for each in flaws if each)}"
    return f"{row.path:<28}{row.per_s:>9.0f}{row.p50_ms:>9.1f}{row.p99_ms:>9.1f}  {during}{flaw}"


def to_wire_p99_ms(detail: Mapping[str, Any]) -> dict[str, float]:
    """Return from `/health/detail` how long setpoints took to each endpoint in the last minute."""
    found = {}
    for name, endpoint in detail.get("endpoints", {}).items():
        took = endpoint.get("proposal_to_wire") if isinstance(endpoint, dict) else None
        if took:
            found[name.rpartition("/")[2]] = float(took["p99_ms"])
    return found


def script(shown: Sequence[Mapping[str, str]], *, looks: bool) -> tuple[str, dict[str, str]]:
    """Return wrk's script and its environment; each request shows the next of `shown`, `looks`: into each answer.

    By the environment: everybody on this machine can read a command line, and a file outlives who is killed.
    """
    environment: dict[str, str] = {}
    tables = []
    for headers in shown:
        named = []
        for name, value in headers.items():
            variable = f"CALEJO_HEADER_{len(environment)}"
            environment[variable] = value
            named.append(f'["{name}"] = "{variable}"')
        tables.append(f"{{{', '.join(named)}}}")
    text = _SCRIPT.format(headers=f"{{{', '.join(tables)}}}")
    return text + (_LOOKING if looks else ""), environment


def _wrk(url: str, shown: Sequence[Mapping[str, str]], *, connections: int, seconds: int) -> str:
    text, environment = script(shown, looks=url.endswith(_TELLING))
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as file:
        file.write(text)
        file.flush()
        command = ["wrk", "-t2", f"-c{connections}", f"-d{seconds}s", "--latency", "--timeout", "5s"]
        try:
            done = subprocess.run(
                [*command, "-s", file.name, url],
                capture_output=True,
                text=True,
                check=False,
                timeout=seconds + 30,
                env=os.environ | environment,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise ExitError(FAILED, f"wrk cannot be run: {error}") from error
    return done.stdout + done.stderr


@contextmanager
def _logged_in(rest: str, own: Mapping[str, str], count: int) -> Iterator[list[dict[str, str]]]:
    """Make users who may read, log each in, and disable them at the end; without any the run's own credential asks."""
    if count == 0:
        yield [dict(own)]
        return
    names: list[str] = []

    def send(path: str, body: Any, headers: Mapping[str, str]) -> Any:
        return call(rest, "POST", f"/api/v1{path}", body=body, timeout_s=30.0, headers=headers)

    def token(name: str, password: str) -> dict[str, str]:
        tokens = send("/auth/login", {"user": name, "password": password}, {})
        return {"Authorization": f"Bearer {tokens['access_token']}"}

    try:
        shown = []
        for _ in range(count):
            name, password = f"bench-{secrets.token_hex(4)}", secrets.token_urlsafe(24)
            made = send("/users", {"user": name, "role": "READ_ONLY"}, own)
            names.append(name)
            first = token(name, made["password"])
            send("/account/password", {"current": made["password"], "new": password}, first)
            shown.append(token(name, password))
        yield shown
    finally:
        for name in names:
            send(f"/users/{name}/disable", {}, own)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure the run of `--data-dir`, print, and say by the exit code whether every path keeps API-4.

    Raises:
        ExitError: nothing runs there, or wrk cannot be run.

    """
    parser = argparse.ArgumentParser(prog="python -m ops.bench.rest", description=__doc__)
    parser.add_argument("--data-dir", type=Path, default=Path(".calejo"))
    parser.add_argument("--seconds", type=int, default=20)
    parser.add_argument("--idle-seconds", type=float, default=IDLE_S)
    parser.add_argument("--connections", type=int, default=CONNECTIONS)
    parser.add_argument("--logins", type=int, default=0)
    parser.add_argument("paths", nargs="*", default=list(PATHS))
    given = parser.parse_args(arguments)
    run = running(given.data_dir)
    own = credentials(given.data_dir)

    def looked() -> dict[str, float]:
        return to_wire_p99_ms(call(run.health, "GET", "/health/detail", timeout_s=10.0))

    [pump] = call(run.rest, "GET", "/api/v1/pumps?limit=1", timeout_s=10.0, headers=own)
    print(head(_idle(looked, given.idle_seconds), given.idle_seconds), flush=True)
    rows = []
    with _logged_in(run.rest, own, given.logins) as shown:
        for template in given.paths:
            path = template.replace("{pump}", pump["pump_id"])
            output = _wrk(f"{run.rest}{path}", shown, connections=given.connections, seconds=given.seconds)
            rows.append(read(output, path, looked()))
            print(line(rows[-1]), flush=True)
    return DONE if all(row.is_good for row in rows) else FAILED


def _idle(looked: Callable[[], dict[str, float]], seconds: float) -> dict[str, float]:
    """Return the worst of each wire over a while without load: what is told is of the last minute only."""
    worst: dict[str, float] = {}
    left_s = seconds
    while left_s > 0.0:
        time.sleep(min(left_s, LATENCY_WINDOW_S))
        left_s -= LATENCY_WINDOW_S
        for name, value in looked().items():
            worst[name] = max(value, worst.get(name, 0.0))
    return worst


if __name__ == "__main__":
    try:
        sys.exit(main())
    except ExitError as error:
        print(f"calejo: {error.line}", file=sys.stderr)
        sys.exit(error.code)
