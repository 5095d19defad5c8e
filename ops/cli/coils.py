"""Sets emergency stop coils over Modbus TCP with a socket: the way that is left when API and disk are gone."""

from __future__ import annotations

import socket
import struct
from typing import TYPE_CHECKING, Any, Final, assert_never

from actors.vocabulary import DeviceError, Scope, Settings, Topology
from actors.vocabulary.settings import PortSettings, SiteSettings
from protocols.points import Point, site_points
from supervisors.memory import MemoryFile
from supervisors.roles import memory_path
from supervisors.tree import port_refusals

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from ops.rundir import RunFile

_TIMEOUT_S: Final = 1.0
_WRITE_SINGLE_COIL: Final = 5
_ON: Final = 0xFF00
_ANSWER_BYTES: Final = 12


def port_holder(data_dir: Path) -> str | None:
    """Return the site that has the common ports, as the root last made it durable; None when nobody can tell."""
    try:
        return MemoryFile(memory_path(Settings(data_dir=str(data_dir)))).load().port_holder
    except DeviceError:
        return None


def write_coils(
    topology: Topology, run: RunFile, scope: Scope, scope_id: str, *, holder: str | None = None
) -> list[dict[str, Any]]:
    """Write 1 to the emergency stop coil of the scope and return a line per coil with what came of it.

    Units and coils of two sites look alike, so nothing is written for a site that has no endpoint of its own or
    is not surely the one (`holder`) that the common ports serve: it could stop a pump of another site.
    """
    dark = unserved([site.site_id for site in topology.sites], run, holder)
    done: list[dict[str, Any]] = []
    for site in topology.sites:
        ports = run.site_ports.get(site.site_id)
        host, port = (ports.modbus_host or ports.host, ports.modbus) if ports else _split(run.modbus)
        for point in site_points(site):
            if point.point != "emergency_stop" or not _concerns(point, site.site_id, scope, scope_id):
                continue
            # A site's coil stands in every unit; one of them is enough.
            place = next((place for place in point.places if place.table == "coil"), None)
            if place is None:
                continue
            why = dark.get(site.site_id)
            if why is not None:
                done.append({"place": point.path, "result": f"not served by any endpoint ({why})"})
                continue
            named = f"{host}:{port} unit {place.unit_id} coil {place.address}"
            done.append({"place": named, "result": _set(host, port, place.unit_id, place.address)})
    return done


def unserved(site_ids: Sequence[str], run: RunFile, holder: str | None) -> dict[str, str]:
    """Return the sites that no endpoint serves, or perhaps none, each with the reason: by the tree's own rule."""
    common = PortSettings(host=_split(run.modbus)[0], opcua=_port(run.opcua), modbus=_split(run.modbus)[1])
    own = {
        site_id: SiteSettings(ports=PortSettings(host=each.host, opcua=each.opcua, modbus=each.modbus))
        for site_id, each in run.site_ports.items()
    }
    candidates = [site_id for site_id in site_ids if site_id not in own]
    if holder not in candidates and len(candidates) > 1:
        # Whoever had them keeps them, and the file that says who cannot be read or is of another plant.
        return dict.fromkeys(candidates, "which site has the common ports is not known")
    return port_refusals(Settings(data_dir="", ports=common, sites=own), list(site_ids), holder=holder)


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


def _port(url: str) -> int:
    text = url.rpartition(":")[2]
    return int(text) if text.isdigit() else 0


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
