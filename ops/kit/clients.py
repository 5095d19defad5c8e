"""Clients of both wires, as SCADA and controllers have them: pymodbus and asyncua, none of our own code behind them.

A client asks and decodes by the map alone. Whatever goes wrong on the way is a `DeviceError` that says what was asked.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
from asyncua import Client, ua
from asyncua.crypto.security_policies import SecurityPolicyAes256Sha256RsaPss
from pymodbus import ModbusException, pymodbus_apply_logging_config
from pymodbus.client import AsyncModbusTcpClient

import protocols.opcua.decoding  # noqa: F401 - silences asyncua's logger: what fails is told once, by us
from actors.vocabulary import DeviceError
from ops.kit.over_tls import OverTls, tls_context
from ops.kit.papers import Papers, TlsPapers
from ops.kit.tags import Place, Tag

ANSWER_S: Final = 3.0
_DIGITS: Final = 6
_NODES_PER_READ: Final = 500
_REGISTERS_MAX: Final = 125
_CRITICAL: Final = "CRITICAL"
_BUSY: Final = "06"
_BUSY_TRIES: Final = 50
_BUSY_S: Final = 0.1
_DATATYPES: Final = {
    "uint16": AsyncModbusTcpClient.DATATYPE.UINT16,
    "uint32": AsyncModbusTcpClient.DATATYPE.UINT32,
    "int32": AsyncModbusTcpClient.DATATYPE.INT32,
}
_FAULTS: Final = (ModbusException, OSError, TimeoutError, ua.UaError, asyncio.IncompleteReadError)


class Refused(DeviceError):
    """The server answered with an exception code or a bad status: `code` is its number or name."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(code, text)
        self.code, self.text = code, text

    def __str__(self) -> str:
        return self.text


class Shown(msgspec.Struct, frozen=True, kw_only=True):
    """A value on a wire in engineering units; `status` is OPC UA's name of the status code, '' on Modbus."""

    value: bool | int | float
    status: str = ""


def number(value: bool | int | float) -> str:  # noqa: PYI041  (a point's value)
    """Return a value as people write it: no exponent for a large counter, no binary dust."""
    return f"{value:.10g}" if isinstance(value, float) else str(int(value))


class _Span(msgspec.Struct, frozen=True):
    """What one request reads, and the tags in it with the place of each."""

    unit_id: int
    table: str
    first: int
    count: int
    tags: tuple[tuple[Tag, Place], ...]


class ModbusWire:
    """A Modbus TCP client; requests one after the other. With papers it speaks Modbus/TLS."""

    def __init__(self, host: str, port: int, papers: TlsPapers | None = None) -> None:
        """Prepare; `open` connects.

        Raises:
            DeviceError: the papers cannot be used.

        """
        pymodbus_apply_logging_config(_CRITICAL)
        self.where = f"{host}:{port}"
        if papers is None:
            self._client = AsyncModbusTcpClient(
                host, port=port, timeout=ANSWER_S, retries=0, reconnect_delay=0
            )
        else:
            self._client = OverTls(host, port, tls_context(papers), answer_s=ANSWER_S)

    async def open(self) -> None:
        """Connect.

        Raises:
            DeviceError: nobody answers.

        """
        if not await self._client.connect():
            raise DeviceError(f"modbus {self.where}: no connection")

    def close(self) -> None:
        """Hang up."""
        self._client.close()

    async def read(self, tags: Sequence[Tag]) -> dict[str, Shown]:
        """Read the tags by their first places, every pump's registers in one request.

        Raises:
            DeviceError: no answer; Refused: an exception code.

        """
        found: dict[str, Shown] = {}
        for span in _spans(tags):
            cells = await self.cells(span.unit_id, span.table, span.first, span.count)
            for tag, place in span.tags:
                start = place.address - span.first
                found[tag.path] = Shown(value=decoded(tag, place, cells[start : start + place.count]))
        return found

    async def cells(self, unit_id: int, table: str, first: int, count: int) -> list[int]:
        """Read registers or bits.

        Raises:
            DeviceError: no answer; Refused: an exception code.

        """
        ask = {
            "coil": self._client.read_coils,
            "discrete": self._client.read_discrete_inputs,
            "holding": self._client.read_holding_registers,
            "input": self._client.read_input_registers,
        }[table]
        what = f"unit {unit_id} {table} {first}..{first + count - 1}"
        answer = await self._patiently(lambda: ask(first, count=count, device_id=unit_id), what)
        cells = [int(cell) for cell in (answer.bits if table in ("coil", "discrete") else answer.registers)]
        if len(cells) < count:
            raise DeviceError(
                f"modbus {self.where}: unit {unit_id} {table} {first}: {len(cells)} of {count} cells"
            )
        return cells[:count]

    async def write_registers(self, unit_id: int, first: int, registers: Sequence[int]) -> None:
        """Write registers. For the check alone, and there only where a refusal is certain.

        Raises:
            DeviceError: no answer; Refused: an exception code.

        """
        await self._answer(
            self._client.write_registers(first, list(registers), device_id=unit_id),
            f"unit {unit_id} write {first}",
        )

    async def unserved_function(self, unit_id: int) -> None:
        """Ask function 07 (Read Exception Status), which no map of ours serves.

        Raises:
            DeviceError: no answer; Refused: an exception code.

        """
        await self._answer(
            self._client.read_exception_status(device_id=unit_id), f"unit {unit_id} function 07"
        )

    async def _patiently(self, request: Callable[[], Any], what: str) -> Any:
        """Ask again where the server says that we ask too often: a plant of many pumps is many questions.

        Raises:
            DeviceError: no answer; Refused: another exception code, or too often for too long.

        """
        for _ in range(_BUSY_TRIES):
            try:
                return await self._answer(request(), what)
            except Refused as error:
                if error.code != _BUSY:
                    raise
            await asyncio.sleep(_BUSY_S)
        return await self._answer(request(), what)

    async def _answer(self, request: Any, what: str) -> Any:
        try:
            answer = await request
        except _FAULTS as error:
            raise DeviceError(f"modbus {self.where}: {what}: {_why(error)}") from error
        if answer.isError():
            code = int(getattr(answer, "exception_code", 0))
            raise Refused(f"{code:02X}", f"modbus {self.where}: {what}: exception {code:02X}")
        return answer


def _spans(tags: Sequence[Tag]) -> Iterator[_Span]:
    """Gather what lies together: a pump's holding registers with their gaps, which are readable; else one by one."""
    pumps: dict[tuple[int, str], list[tuple[Tag, Place]]] = {}
    for tag in tags:
        for place in tag.places[:1]:
            if tag.pump_id is not None and place.table == "holding":
                pumps.setdefault((place.unit_id, tag.pump_id), []).append((tag, place))
            else:
                yield _Span(place.unit_id, place.table, place.address, place.count, ((tag, place),))
    for (unit_id, _), own in pumps.items():
        first = min(place.address for _, place in own)
        count = max(place.address + place.count for _, place in own) - first
        if count <= _REGISTERS_MAX:
            yield _Span(unit_id, "holding", first, count, tuple(own))
        else:
            for tag, place in own:
                yield _Span(unit_id, "holding", place.address, place.count, ((tag, place),))


def decoded(tag: Tag, place: Place, cells: Sequence[int]) -> bool | int | float:
    """Return what the cells say, as pymodbus reads them: value = raw x scale.

    Raises:
        DeviceError: a Boolean that is neither 0 nor 1.

    """
    raw = cells[0] if place.type == "bool" else _number(cells, place)
    if tag.type == "Boolean":
        if raw not in (0, 1):
            raise DeviceError(f"modbus {tag.path}: {raw} is neither 0 nor 1")
        return bool(raw)
    return round(raw * place.scale, _DIGITS) if tag.type == "Double" else raw


def _number(cells: Sequence[int], place: Place) -> int:
    raw = AsyncModbusTcpClient.convert_from_registers(list(cells), _DATATYPES[place.type])
    assert isinstance(raw, int), "an integer type gives an integer"
    return raw


class OpcUaWire:
    """An OPC UA client with one session: without security where that is offered, else with its papers."""

    def __init__(self, url: str, papers: Papers | None = None) -> None:
        """Prepare; `open` connects."""
        self.where = url
        self._papers = papers
        self._client = Client(url, timeout=ANSWER_S)
        self._opened = False

    async def open(self) -> None:
        """Connect and activate a session.

        Raises:
            DeviceError: nobody answers, or the session was refused.

        """
        try:
            if self._papers is not None and not await self._is_open_to_all():
                await self._show(self._papers)
            await asyncio.wait_for(self._client.connect(), 2 * ANSWER_S)
        except _FAULTS as error:
            raise DeviceError(f"opcua {self.where}: no session ({_why(error)})") from error
        self._opened = True

    async def _is_open_to_all(self) -> bool:
        offered = await asyncio.wait_for(self._client.connect_and_get_server_endpoints(), 2 * ANSWER_S)
        return any(each.SecurityMode is ua.MessageSecurityMode.None_ for each in offered)

    async def _show(self, papers: Papers) -> None:
        certificate, key = Path(papers.certificate), Path(papers.private_key)
        await self._client.set_security(SecurityPolicyAes256Sha256RsaPss, certificate, key)
        self._client.application_uri = papers.uri
        await self._client.load_client_certificate(papers.certificate)
        await self._client.load_private_key(key)

    async def close(self) -> None:
        """End the session; a server that is gone does not hold us up."""
        if not self._opened:
            return
        self._opened = False
        try:
            await asyncio.wait_for(self._client.disconnect(), ANSWER_S)
        except (*_FAULTS, asyncio.CancelledError) as error:
            if (
                isinstance(error, asyncio.CancelledError)
                and (task := asyncio.current_task())
                and task.cancelling()
            ):
                raise

    async def read(self, tags: Sequence[Tag]) -> dict[str, Shown]:
        """Read the tags' values with their status.

        Raises:
            DeviceError: no answer; Refused: a node is not there, or has no number.

        """
        values = await self.attributes([tag.node_id for tag in tags], ua.AttributeIds.Value)
        found: dict[str, Shown] = {}
        for tag, data in zip(tags, values, strict=True):
            value = None if data.Value is None else data.Value.Value
            if not isinstance(value, bool | int | float):
                raise Refused(_status(data), f"opcua {tag.node_id}: {_status(data)}, value {value!r}")
            rounded = round(value, _DIGITS) if isinstance(value, float) else value
            found[tag.path] = Shown(value=rounded, status=_status(data))
        return found

    async def subscribe(self, node_id: str, handler: Any, *, publishing_ms: float) -> None:
        """Have asyncua tell `handler` each change of a node, until `close`.

        Raises:
            DeviceError: no answer; Refused: it cannot be watched.

        """
        try:
            subscription = await self._client.create_subscription(publishing_ms, handler)
            await subscription.subscribe_data_change(self._client.get_node(node_id))
        except ua.UaStatusCodeError as error:
            name = ua.status_codes.get_name_and_doc(error.code)[0]
            raise Refused(name, f"opcua {node_id}: not watched: {name}") from error
        except _FAULTS as error:
            raise DeviceError(f"opcua {self.where}: subscribe: {_why(error)}") from error

    async def attributes(self, node_ids: Sequence[str], attribute: ua.AttributeIds) -> list[ua.DataValue]:
        """Read one attribute of many nodes.

        Raises:
            DeviceError: no answer.

        """
        found: list[ua.DataValue] = []
        for start in range(0, len(node_ids), _NODES_PER_READ):
            some = [ua.NodeId.from_string(each) for each in node_ids[start : start + _NODES_PER_READ]]
            try:
                found += await self._client.uaclient.read_attributes(some, attribute)
            except _FAULTS as error:
                raise DeviceError(f"opcua {self.where}: read: {_why(error)}") from error
        return found

    async def variables_below(self, node_id: str) -> list[str]:
        """Return the node ids of every variable of our namespace below an object, by browsing.

        Raises:
            DeviceError: no answer, or the object is not there.

        """
        found: list[str] = []
        waiting, seen = [node_id], {node_id}
        try:
            while waiting:
                node = self._client.get_node(waiting.pop())
                for child in await node.get_children_descriptions():
                    text = child.NodeId.to_string()
                    if child.NodeId.NamespaceIndex != node.nodeid.NamespaceIndex:
                        continue
                    if child.NodeClass is ua.NodeClass.Variable:
                        found.append(text)
                    elif child.NodeClass is ua.NodeClass.Object and text not in seen:
                        # Below its parent and as a source of its events: one object, two references.
                        seen.add(text)
                        waiting.append(text)
        except _FAULTS as error:
            raise DeviceError(f"opcua {self.where}: browse: {_why(error)}") from error
        return found

    async def write(self, tag: Tag, value: Mapping[str, Any]) -> None:
        """Write a value (`value`, `type`). For the check alone, and there only where a refusal is certain.

        Raises:
            DeviceError: no answer; Refused: a bad status.

        """
        variant = ua.Variant(value["value"], getattr(ua.VariantType, value["type"]))
        try:
            await self._client.get_node(tag.node_id).write_value(ua.DataValue(variant))
        except ua.UaStatusCodeError as error:
            name = ua.status_codes.get_name_and_doc(error.code)[0]
            raise Refused(name, f"opcua {tag.node_id}: write: {name}") from error
        except _FAULTS as error:
            raise DeviceError(f"opcua {self.where}: write: {_why(error)}") from error

    async def endpoints(self) -> list[tuple[str, str, tuple[str, ...]]]:
        """Return what the server offers: policy, mode and user tokens of each endpoint.

        Raises:
            DeviceError: no answer.

        """
        try:
            offered = await self._client.get_endpoints()
        except _FAULTS as error:
            raise DeviceError(f"opcua {self.where}: endpoints: {_why(error)}") from error
        return [
            (
                str(each.SecurityPolicyUri).rpartition("#")[2],
                each.SecurityMode.name.rstrip("_"),
                tuple(sorted({token.TokenType.name for token in each.UserIdentityTokens or []})),
            )
            for each in offered
        ]


def _status(data: ua.DataValue) -> str:
    code = data.StatusCode
    return "Good" if code is None else str(code.name)


def _why(error: BaseException) -> str:
    return str(error) or type(error).__name__
