"""`calejo estop`: works with the API, without it (latch files), and without the disk (Modbus coils); never imports ray.

A stop is asked of REST; what has not answered after 300 ms is not waited for: the stop is made durable in the latch
folder, which every gate watches; if the disk refuses as well, the coils are written over Modbus TCP. The stop has
one id throughout REST and files, so that two ways of the same stop are one stop.
"""

from __future__ import annotations

import argparse
import threading
import time
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

from actors.vocabulary import DeviceError, InvalidValueError, Scope, Topology
from actors.vocabulary.ids import checked_id
from actors.vocabulary.records import StopEventRecord
from actors.vocabulary.users import LOCAL_PREFIX
from ops.cli.client import NotAllowedError, ask, running
from ops.cli.exits import DONE, FAILED, NOT_RUNNING, REFUSED, USAGE, ExitError
from ops.cli.identity import never_ask
from ops.cli.output import show
from ops.cli.settings_of import data_dir_of
from ops.rundir import find_run

if TYPE_CHECKING:
    from ops.rundir import RunFile
    from storage.latches import LatchFolder

_REST_PATIENCE_S: Final = 0.3
_ANSWER_PATIENCE_S: Final = 3.0
# The stop is stored, or its coils are written, by then: what an API with a dead endpoint needs to say so.
_LATE_ANSWER_S: Final = 1.5
_DISK_PATIENCE_S: Final = 1.0
_TEXT_MAX: Final = 500
_COLUMNS: Final = (
    "stop_id",
    "kind",
    "scope",
    "scope_id",
    "reason",
    "set_by",
    "set_at",
    "cleared_by",
    "cleared_at",
)


class _Call:
    """A call in a thread of its own: nothing that hangs may hold up a stop, and the process ends without it."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._ended = threading.Event()
        self.answer: dict[str, Any] | None = None
        self.error: BaseException | None = None

    def start(self, function: Any, *arguments: Any, **named: Any) -> _Call:
        """Begin."""

        def work() -> None:
            try:
                self.answer = function(*arguments, **named)
            except (ConnectionError, ExitError, DeviceError) as error:
                self.error = error
            finally:
                self._ended.set()

        threading.Thread(target=work, name=self._what, daemon=True).start()
        return self

    def wait(self, timeout_s: float) -> bool:
        """Return whether it has ended within `timeout_s`."""
        return self._ended.wait(timeout_s)

    def why(self) -> str:
        """Return why there is no answer, '' if there is one (or none was due)."""
        if self.error is not None:
            return self.error.line if isinstance(self.error, ExitError) else str(self.error)
        return "" if self._ended.is_set() else f"{self._what} has not answered yet"


def set_stop(arguments: argparse.Namespace) -> int:
    """Stop the pumps of a scope by every way that is needed.

    Raises:
        ExitError: (2) the scope needs an id or takes none; (1) no way worked; (3) stored, but nothing runs;
            (4) there is no such pump, station or site.

    """
    scope, scope_id = _scope(arguments)
    reason, by = _text("--reason", arguments.reason), _text("--by", arguments.by)
    never_ask()
    data_dir = data_dir_of(arguments)
    topology = _topology(data_dir)
    run = find_run(data_dir)
    stop_id = str(uuid.uuid4())
    rest = _Call("REST")
    if run is None:
        if not data_dir.is_dir():
            raise ExitError(
                NOT_RUNNING, f"Calejo is not running in {data_dir} and has no data there: nothing was stopped"
            )
    else:
        body = {"stop_id": stop_id, "scope": scope.value, "scope_id": scope_id, "reason": reason, "by": by}
        rest.start(ask, data_dir, "POST", "/api/v1/emergency-stops", body=body, timeout_s=_ANSWER_PATIENCE_S)
        if rest.wait(_REST_PATIENCE_S):
            # Whom REST does not let stop may still do so here, by the files: no login impedes a stop (EST-4).
            unwanted = isinstance(rest.error, ExitError) and rest.error.code in {USAGE, REFUSED}
            if unwanted and not isinstance(rest.error, NotAllowedError):
                assert isinstance(rest.error, ExitError)
                raise rest.error
            if rest.answer is not None:
                return _answered(rest.answer, form=arguments.format)
    record = StopEventRecord(
        record_id=stop_id,
        scope=scope,
        scope_id=scope_id,
        reason=reason,
        set_by=f"{LOCAL_PREFIX}{by}",
        set_at=datetime.now(UTC),  # noqa: TID251  (a shell of the command line: it has no other clock)
    )
    if topology is not None:
        _refuse_unknown(topology, scope, scope_id)
    return _without_rest(data_dir, run, record, rest, topology, form=arguments.format)


def _answered(answer: dict[str, Any], *, form: str) -> int:
    if form == "json":
        show(answer, (), form="json")
    else:
        print(f"stop {answer['stop_id']} set for {answer['scope']} {answer['scope_id']}".rstrip())
        if not answer["durable"]:
            print(f"  NOT durable on this machine's disk: {answer['detail']}")
        print("\n".join(lines_of(answer)))
        if any(pump["stopped"] is not True for pump in answer["pumps"]):
            print(f"until the motors stand: calejo estop show {answer['stop_id']} --wait 30s")
    return DONE


def lines_of(answer: dict[str, Any]) -> list[str]:
    """Return a line for each endpoint, and one for each covered pump there."""
    lines = []
    for endpoint in answer["endpoints"]:
        state = "published" if endpoint["published"] else f"NOT confirmed ({endpoint['detail']})"
        lines.append(
            f"  {endpoint['endpoint']}: {state}{'' if endpoint['durable'] else ', NOT durable there'}"
        )
    lines += [
        f"  {pump['endpoint']} pump {pump['pump_id']}: {pump['published_hz']:.2f} Hz published,"
        f" {_word(pump['echoed'], 'echoed by its controller', 'controller echoes another value')},"
        f" {_word(pump['stopped'], 'measured stopped', 'STILL TURNING')}"
        for pump in answer["pumps"]
    ]
    return lines


def _word(value: bool | None, yes: str, no: str) -> str:
    return "nothing heard since" if value is None else (yes if value else no)


def _without_rest(
    data_dir: Path,
    run: RunFile | None,
    record: StopEventRecord,
    rest: _Call,
    topology: Topology | None,
    *,
    form: str,
) -> int:
    answer: dict[str, Any] = {
        "stop_id": record.record_id,
        "scope": record.scope.value,
        "scope_id": record.scope_id,
        "durable": False,
        "endpoints": [],
        "pumps": [],
        "rest": "not running" if run is None else rest.why(),
        "coils": [],
    }
    lines = [f"REST: {answer['rest']}"]
    disk = _Call("the disk").start(_store, data_dir, record)
    if disk.wait(_DISK_PATIENCE_S) and disk.error is None:
        answer["durable"] = True
        lines.append(f"latch folder: stop {record.record_id} is durable; living gates read it within 0.2 s")
    else:
        lines.append(f"latch folder: {disk.why()}")
    if run is not None and not answer["durable"]:
        lines += _coils(data_dir, run, record, topology, answer)
    # The API may only have been slow, because an endpoint is: its word counts for more than what we hope for.
    if run is not None and rest.wait(_LATE_ANSWER_S) and rest.answer is not None:
        return _answered(rest.answer, form=form)
    written = [coil["result"] == "set" for coil in answer["coils"]]
    stopped = answer["durable"] or (bool(written) and all(written))
    if form == "json":
        show(answer, (), form="json")
    else:
        print("\n".join(lines))
    if not stopped:
        state = "STOPPED ONLY IN PART" if any(written) else "NOT STOPPED"
        raise ExitError(FAILED, f"{state}: {'; '.join(lines)}")
    if run is None:
        raise ExitError(
            NOT_RUNNING,
            f"Calejo is not running in {data_dir}: the stop is stored and holds from its next start",
        )
    return DONE


def _store(data_dir: Path, record: StopEventRecord) -> None:
    store = _latches(data_dir)
    store.merge((msgspec.structs.replace(record, set_stamp=store.next_stamp()),))


def _coils(
    data_dir: Path,
    run: RunFile,
    record: StopEventRecord,
    topology: Topology | None,
    answer: dict[str, Any],
) -> list[str]:
    if topology is None:
        return ["coils: not tried, there is no readable topology.json to find them by"]
    from ops.cli.coils import port_holder, write_coils

    holder = port_holder(data_dir)
    answer["coils"] = write_coils(topology, run, record.scope, record.scope_id, holder=holder)
    return [f"coil {coil['place']}: {coil['result']}" for coil in answer["coils"]]


def _topology(data_dir: Path) -> Topology | None:
    """Return the plant as discovery last stored it, None when that cannot be read."""
    try:
        return msgspec.json.decode((data_dir / "topology.json").read_bytes(), type=Topology)
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
        return None


def _refuse_unknown(topology: Topology, scope: Scope, scope_id: str) -> None:
    """Refuse a stop of something that is not there: whoever mistyped must not believe that it stopped.

    Raises:
        ExitError: (4) there is none of that id.

    """
    stations = [station for site in topology.sites for station in site.stations]
    known = {
        Scope.SYSTEM: {""},
        Scope.SITE: {site.site_id for site in topology.sites},
        Scope.STATION: {station.station_id for station in stations},
        Scope.PUMP: {pump.pump_id for station in stations for pump in station.pumps},
    }[scope]
    if scope_id not in known:
        some = ", ".join(sorted(known)[:10]) or "none"
        raise ExitError(
            REFUSED, f"{scope.value.lower()} {scope_id!r} is not known; nothing was stopped (known: {some})"
        )


def _latches(data_dir: Path) -> LatchFolder:
    from storage.latches import LatchFolder

    return LatchFolder(data_dir / "latches", utc_second=lambda: int(time.time()))  # noqa: TID251  (as above)


def list_stops(arguments: argparse.Namespace) -> int:
    """Print the stops that hold (with --all the cleared ones too), from the API or else from the latch folder.

    Raises:
        ExitError: (3) neither a run nor a latch folder is there; (1) neither can be read.

    """
    data_dir = data_dir_of(arguments)
    run = find_run(data_dir)
    rows: list[dict[str, Any]] | None = None
    if run is not None:
        path = f"/api/v1/emergency-stops?all={'true' if arguments.all else 'false'}"
        asked = _Call("REST").start(ask, data_dir, "GET", path, timeout_s=_ANSWER_PATIENCE_S)
        if asked.wait(_ANSWER_PATIENCE_S):
            rows = asked.answer  # type: ignore[assignment]  # this path answers with a list
    if rows is None:
        if not (data_dir / "latches").is_dir():
            running(data_dir)
        try:
            stops = _latches(data_dir).load()
        except DeviceError as error:
            raise ExitError(FAILED, str(error)) from error
        rows = [_row(stop) for stop in stops if arguments.all or stop.cleared_at is None]
    show(rows, _COLUMNS, form=arguments.format)
    return DONE


def _row(stop: StopEventRecord) -> dict[str, Any]:
    return {
        "stop_id": stop.record_id,
        "kind": stop.kind,
        "scope": stop.scope.value,
        "scope_id": stop.scope_id,
        "reason": stop.reason,
        "set_by": stop.set_by,
        "set_at": stop.set_at.isoformat(),
        "cleared_by": stop.cleared_by,
        "cleared_at": stop.cleared_at.isoformat() if stop.cleared_at else None,
        "clear_reason": stop.clear_reason,
    }


def clear_stops(arguments: argparse.Namespace) -> int:
    """Clear named stops, or those a scope lists (naming them); the pumps then ramp from 0 under the normal rules.

    Clearing needs the running system: it is never done by file, because a clear must be confirmed by what it frees.

    Raises:
        ExitError: (2) neither --stop nor --scope; (3) not running; (4) refused.

    """
    data_dir = data_dir_of(arguments)
    reason, by = _text("--reason", arguments.reason), _text("--by", arguments.by)
    ids = list(arguments.stop)
    if bool(ids) == (arguments.scope is not None):
        raise ExitError(USAGE, "give either --stop ID (one or more) or --scope")
    if arguments.scope is None and arguments.id is not None:
        raise ExitError(USAGE, "--id goes with --scope only")
    if arguments.scope is not None:
        scope, scope_id = _scope(arguments)
        held = ask(data_dir, "GET", "/api/v1/emergency-stops")
        ids = [
            row["stop_id"]
            for row in held
            if row["kind"] == "emergency_stop" and row["scope"] == scope.value and row["scope_id"] == scope_id
        ]
        if not ids:
            raise ExitError(REFUSED, f"no stop of scope {scope.value} {scope_id} holds".replace("  ", " "))
    body = {"stop_ids": ids, "reason": reason, "by": by}
    answer = ask(data_dir, "POST", "/api/v1/emergency-stops/clear", body=body)
    if arguments.format == "json":
        show(answer, (), form="json")
    else:
        for stop_id in answer["cleared"]:
            print(f"cleared {stop_id}")
        for endpoint in answer["endpoints"]:
            state = "published" if endpoint["published"] else f"not confirmed ({endpoint['detail']})"
            print(f"  {endpoint['endpoint']}: {state}")
    return DONE


def _scope(arguments: argparse.Namespace) -> tuple[Scope, str]:
    scope = Scope(arguments.scope.upper())
    if scope is Scope.SYSTEM:
        if arguments.id is not None:
            raise ExitError(USAGE, "--scope system takes no --id")
        return scope, ""
    if arguments.id is None:
        raise ExitError(USAGE, f"--scope {arguments.scope} needs --id")
    try:
        return scope, checked_id(arguments.id, place="--id")
    except InvalidValueError as error:
        raise ExitError(USAGE, str(error)) from error


def _text(name: str, value: str) -> str:
    text = value.strip()
    if not text or len(text) > _TEXT_MAX or not text.isprintable():
        raise ExitError(USAGE, f"{name}: {value[:60]!r}, expected 1 to {_TEXT_MAX} printable characters")
    return text
