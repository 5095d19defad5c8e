"""`calejo wire watch`: looks at both wires again and again, and shows what it sees in place, as lines or as JSON."""

from __future__ import annotations

import asyncio
import json
import shutil
import signal
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from enum import IntEnum
from typing import Final, Self, TextIO, TypeAlias

import msgspec

from actors.vocabulary import DeviceError, Mode, Quality, Reason
from ops.kit.clients import ModbusWire, OpcUaWire, Refused, Shown
from ops.kit.looking import WIRES, Look, Owner
from ops.kit.papers import Papers, TlsPapers
from ops.kit.tags import Tag

_IN: Final = "\x1b[?1049h\x1b[?25l"
_OUT: Final = "\x1b[?25h\x1b[?1049l"
_HOME: Final = "\x1b[H"
_REST: Final = "\x1b[J"
_END_OF_LINE: Final = "\x1b[K"
_SILENT: Final = "silent"
# By owner: what was read, by path, or why nothing was.
_Answers: TypeAlias = Mapping[str, Mapping[str, Shown] | str]


class Endpoint(msgspec.Struct, frozen=True, kw_only=True):
    """Where one site's two servers listen; `dark`: why nobody serves the site, '' if somebody does."""

    site_id: str
    modbus_host: str
    modbus_port: int
    opcua_url: str
    dark: str = ""
    # Where Modbus is bound, if that is not where it is reached (0.0.0.0).
    modbus_listens: str = ""
    # False: without TLS nobody is let in; 0: TLS is not served.
    modbus_plain: bool = True
    modbus_tls_port: int = 0
    modbus_papers: TlsPapers | None = None
    # What the OPC UA client shows where nobody is let in without: certificate and private key.
    papers: Papers | None = None


def modbus_of(endpoint: Endpoint) -> ModbusWire:
    """Return a client of the site's Modbus: without TLS where that is served, else with its papers.

    Raises:
        DeviceError: there is no way in without papers, and there are none that can be used.

    """
    if endpoint.modbus_plain:
        return ModbusWire(endpoint.modbus_host, endpoint.modbus_port)
    if endpoint.modbus_papers is None:
        raise DeviceError(
            f"modbus {endpoint.modbus_host}:{endpoint.modbus_tls_port}: TLS alone is served, and there is no"
            " certificate for calejo-wire that may be read here (ops/docs/commissioning.md)"
        )
    return ModbusWire(endpoint.modbus_host, endpoint.modbus_tls_port, endpoint.modbus_papers)


class SiteWatch:
    """Both clients of one site; a client that fails is opened again at the next look."""

    def __init__(self, endpoint: Endpoint, tags: Sequence[Tag]) -> None:
        """Prepare."""
        self._endpoint = endpoint
        by_owner: dict[str, list[Tag]] = {}
        # What Modbus alone has repeats what both have.
        for tag in (each for each in tags if each.node_id):
            by_owner.setdefault(tag.owner, []).append(tag)
        self._owners = [Owner(name, own) for name, own in by_owner.items()]
        self._modbus: ModbusWire | None = None
        self._opcua: OpcUaWire | None = None

    async def look(self) -> list[Look]:
        """Look once at everything."""
        modbus = await self._modbus_values()
        opcua = await self._opcua_values()
        now_s = asyncio.get_running_loop().time()
        looks = []
        for owner in self._owners:
            values: dict[str, Mapping[str, Shown]] = {}
            faults: dict[str, str] = {}
            for wire, found in (("modbus", modbus[owner.owner]), ("opcua", opcua[owner.owner])):
                if isinstance(found, str):
                    faults[wire] = found
                else:
                    values[wire] = {tag.point: found[tag.path] for tag in owner.tags if tag.path in found}
            looks.append(owner.look(values, faults, now_s=now_s))
        return looks

    async def _modbus_values(self) -> _Answers:
        try:
            if self._modbus is None:
                wire = modbus_of(self._endpoint)
                await wire.open()
                self._modbus = wire
            return await self._everybody(self._modbus)
        except DeviceError:
            if self._modbus is not None:
                self._modbus.close()
                self._modbus = None
            return {owner.owner: _SILENT for owner in self._owners}

    async def _opcua_values(self) -> _Answers:
        try:
            if self._opcua is None:
                wire = OpcUaWire(self._endpoint.opcua_url, self._endpoint.papers)
                await wire.open()
                self._opcua = wire
            return await self._everybody(self._opcua)
        except DeviceError:
            if self._opcua is not None:
                gone, self._opcua = self._opcua, None
                await gone.close()
            return {owner.owner: _SILENT for owner in self._owners}

    async def _everybody(self, wire: ModbusWire | OpcUaWire) -> _Answers:
        """Read all at once; where something is refused (a pump has gone), one by one, so that the others show.

        Raises:
            DeviceError: no answer.

        """
        try:
            found = await wire.read([tag for owner in self._owners for tag in owner.tags])
        except Refused:
            answers: dict[str, dict[str, Shown] | str] = {}
            for owner in self._owners:
                try:
                    answers[owner.owner] = await wire.read(owner.tags)
                except Refused as error:
                    answers[owner.owner] = f"refused {error.code}"
            return answers
        return {owner.owner: found for owner in self._owners}

    async def close(self) -> None:
        """End both connections."""
        if self._modbus is not None:
            self._modbus.close()
        if self._opcua is not None:
            await self._opcua.close()


async def watch(
    sites: Sequence[tuple[Endpoint, Sequence[Tag]]],
    *,
    show: Callable[[Sequence[Look], datetime], None],
    every_s: float,
    for_s: float | None,
    utc: Callable[[], datetime],
) -> None:
    """Look every `every_s` until `for_s` has passed, or SIGINT or SIGTERM arrives."""
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, ended.set)
    watching = [SiteWatch(endpoint, tags) for endpoint, tags in sites]
    ends_s = None if for_s is None else loop.time() + for_s
    try:
        while not ended.is_set():
            due_s = loop.time() + every_s
            looking = asyncio.ensure_future(_all(watching))
            ending = asyncio.ensure_future(ended.wait())
            await asyncio.wait([looking, ending], return_when=asyncio.FIRST_COMPLETED)
            ending.cancel()
            if not looking.done():
                looking.cancel()
                await asyncio.wait([looking])
                break
            show(looking.result(), utc())
            if ends_s is not None:
                if loop.time() >= ends_s:
                    break
                due_s = min(due_s, ends_s)
            try:
                await asyncio.wait_for(ended.wait(), max(0.0, due_s - loop.time()))
            except TimeoutError:
                continue
    finally:
        for site in watching:
            await site.close()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)


async def _all(watching: Sequence[SiteWatch]) -> list[Look]:
    return [look for looks in await asyncio.gather(*(site.look() for site in watching)) for look in looks]


# --- What it looks like ---------------------------------------------------------------------------------------

_PUMP_COLUMNS: Final = (
    ("mode", "mode"), ("on", "remote_enabled"), ("inhibit", "run_inhibit"), ("setpoint", "setpoint"),
    ("quality", "setpoint_quality"), ("reason", "reason"), ("echo", "setpoint_echo"), ("speed", "actual_speed"),
    ("run", "running"), ("level", "wet_well_level"), ("local", "local_override"), ("heartbeat", "heartbeat"),
)  # fmt: skip


def compact(looks: Sequence[Look]) -> list[str]:
    """Return a table, a line per pump, as Modbus shows it; OPC UA's value where only that answers.

    A station or site has a line while there is something to say of it.
    """
    rows = [("path", *(title for title, _ in _PUMP_COLUMNS), "remarks")]
    for look in looks:
        remarks = list(look.marks)
        if not any("heartbeat" in shown for shown in look.values.values()):
            told = {point: _any(look, point) for point in ("emergency_stop", "failsafe")}
            remarks = [point for point, shown in told.items() if shown is not None and shown.value] + remarks
            if not remarks:
                continue
        cells = [_text(point, _any(look, point)) for _, point in _PUMP_COLUMNS]
        rows.append((look.owner, *cells, "; ".join(remarks) or "-"))
    return _aligned(rows)


def detailed(looks: Sequence[Look]) -> list[str]:
    """Return a table, a line per point, both wires beside each other."""
    rows = [("point", "modbus", "opcua", "status", "remarks")]
    for look in looks:
        points = dict.fromkeys(point for shown in look.values.values() for point in shown)
        for point in points:
            one, other = (look.values.get(wire, {}).get(point) for wire in WIRES)
            mark = "differs" if point in look.differing else ""
            rows.append(
                (
                    f"{look.owner}/{point}",
                    _text(point, one),
                    _text(point, other),
                    other.status if other else "",
                    mark,
                )
            )
        rows += [(look.owner, "", "", "", mark) for mark in look.marks if not mark.startswith("differs")]
    return _aligned(rows)


def lines(looks: Sequence[Look], at: datetime) -> Iterator[str]:
    """Yield a line per pump or station for a pipe: UTC, path, point=value, remarks."""
    stamp = at.isoformat(timespec="milliseconds")
    for look in looks:
        shown = look.values.get("modbus") or look.values.get("opcua") or {}
        cells = [f"{point}={_text(point, value)}" for point, value in shown.items()]
        remarks = f" remarks={json.dumps('; '.join(look.marks))}" if look.marks else ""
        yield f"{stamp} {look.owner} {' '.join(cells)}{remarks}"


def as_json(look: Look, at: datetime) -> str:
    """Return one look as a line of JSON."""
    wires = {
        wire: {
            point: {"value": shown.value, "status": shown.status} if shown.status else {"value": shown.value}
            for point, shown in values.items()
        }
        for wire, values in look.values.items()
    }
    return json.dumps(
        {
            "at": at.isoformat(timespec="milliseconds"),
            "path": look.owner,
            **wires,
            "silent": sorted(look.faults),
            "remarks": list(look.marks),
        }
    )


class Screen:
    """A terminal whose lines are replaced in place; everything is as before when it is left."""

    def __init__(self, out: TextIO) -> None:
        """Take the terminal."""
        self._out = out

    def __enter__(self) -> Self:
        """Switch to the other screen, without a cursor."""
        self._out.write(_IN)
        self._out.flush()
        return self

    def __exit__(self, *_: object) -> None:
        """Give the screen back."""
        self._out.write(_OUT)
        self._out.flush()

    def show(self, text: Sequence[str]) -> None:
        """Replace what is shown; what does not fit is cut off, and counted in the last line."""
        width, height = shutil.get_terminal_size()
        shown = list(text[:height])
        if len(text) > height:
            shown[-1] = f"... {len(text) - height + 1} more lines: choose with --station or --pump"
        self._out.write(
            _HOME + f"{_END_OF_LINE}\n".join(line[:width] for line in shown) + _END_OF_LINE + _REST
        )
        self._out.flush()


def _any(look: Look, point: str) -> Shown | None:
    return next((shown[point] for shown in look.values.values() if point in shown), None)


def _text(point: str, shown: Shown | None) -> str:
    if shown is None:
        return "-"
    value = shown.value
    if isinstance(value, bool):
        return "1" if value else "0"
    if isinstance(value, float):
        return f"{value:.3f}" if point == "wet_well_level" else f"{value:.2f}"
    match point:
        case "mode":
            return _name(Mode, value)
        case "reason":
            return _name(Reason, value)
        case "setpoint_quality":
            return _name(Quality, value)
        case _:
            return str(value)


def _name(codes: type[IntEnum], value: int) -> str:
    try:
        return codes(value).name
    except ValueError:
        return str(value)


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[at]) for row in rows) for at in range(len(rows[0]))]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    ]


def utc_now() -> datetime:
    """Return the wall clock."""
    return datetime.now(tz=UTC)  # noqa: TID251  (a stamp for a person; ages use the loop's clock)


def printer(form: str, *, detail: bool, screen: Screen | None) -> Callable[[Sequence[Look], datetime], None]:
    """Return what shows one look: JSON lines, a screen in place, or lines for a pipe."""

    def show(looks: Sequence[Look], at: datetime) -> None:
        if form == "json":
            for look in looks:
                print(as_json(look, at))
        elif screen is not None:
            head = f"calejo wire watch  {at.isoformat(timespec='seconds')}  Ctrl-C ends"
            screen.show([head, "", *(detailed(looks) if detail else compact(looks))])
        else:
            for line in lines(looks, at):
                print(line)
        sys.stdout.flush()

    return show
