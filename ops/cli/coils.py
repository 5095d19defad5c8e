"""Sets emergency stop coils over Modbus TCP with a socket: the way that is left when API and disk are gone."""

from __future__ import annotations

import socket
import struct
from typing import TYPE_CHECKING, Any, Final, assert_never

from actors.vocabulary import Scope, Topology
from protocols.points import Point, site_points

if TYPE_CHECKING:
    from ops.rundir import RunFile

_TIMEOUT_S: Final = 1.0
_WRITE_SINGLE_COIL: Final = 5
_ON: Final = 0xFF00
_ANSWER_BYTES: Final = 12


def write_coils(topology: Topology, run: RunFile, scope: Scope, scope_id: str) -> list[dict[str, Any]]:
    """Write 1 to the emergency stop coil of the scope and return a line per coil with what came of it."""
    done: list[dict[str, Any]] = []
    for site in topology.sites:
        ports = run.site_ports.get(site.site_id)
        host, port = (ports.host, ports.modbus) if ports else _split(run.modbus)
        for point in site_points(site):
            if point.point != "emergency_stop" or not _concerns(point, site.site_id, scope, scope_id):
                continue
            # A site's coil stands in every unit; one of them is enough.
            place = next((place for place in point.places if place.table == "coil"), None)
            if place is None:
                continue
            named = f"{host}:{port} unit {place.unit_id} coil {place.address}"
            done.append({"place": named, "result": _set(host, port, place.unit_id, place.address)})
    return done


def _concerns(point: Point, site_id: str, scope: Scope, scope_id: str) -> bool:
    match scope:
        case Scope.SYSTEM:
            return point.station_id is None
        case Scope.SITE:
            return point.station_id is None and site_id == scope_id
        case Scope.STATION:
            return point.station_id == scope_id and point.pump_id is None
        case Scope.PUMP:
            return point.pump_id == scope_id
        case _:
            assert_never(scope)


def _split(where: str) -> tuple[str, int]:
    host, _, port = where.rpartition(":")
    return host.strip("[]"), int(port)


def _set(host: str, port: int, unit_id: int, address: int) -> str:
    request = struct.pack(">HHHBBHH", 1, 0, 6, unit_id, _WRITE_SINGLE_COIL, address, _ON)
    try:
        with socket.create_connection((host, port), timeout=_TIMEOUT_S) as connection:
            connection.sendall(request)
            answer = b""
            while len(answer) < _ANSWER_BYTES and (more := connection.recv(_ANSWER_BYTES - len(answer))):
                answer += more
    except OSError as error:
        return f"no answer ({error})"
    return "set" if answer == request else f"refused ({answer.hex()})"
