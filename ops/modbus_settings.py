"""What Modbus settings must keep (CFG-1, MOD-4), and whether a run could serve by them, before anything starts."""

from __future__ import annotations

import ipaddress
import math
import os
import socket
from collections.abc import Callable, Iterator
from typing import Final

from actors.vocabulary import DeviceError, InvalidValueError
from actors.vocabulary.settings import ModbusSettings, PortSettings, Settings, is_loopback, modbus_host
from protocols.modbus.clients import allow_list

CLIENTS_MAX: Final = 1024
_REQUESTS_PER_S_MAX: Final = 100_000.0
# A controller that asks once a second must not be taken for silent, nor may a dead one hold its place for an hour.
_IDLE_S_MIN: Final = 5.0
_IDLE_S_MAX: Final = 3600.0

Require = Callable[[bool, str, object, str], None]


def check_modbus(settings: Settings, require: Require) -> None:
    """See that every value and relation holds; `require` (condition, key, value, expectation) refuses."""
    modbus = settings.modbus
    fault = ""
    try:
        allow_list(modbus.allow)
    except InvalidValueError as error:
        fault = str(error)
    require(not fault, "modbus.allow", modbus.allow[:80], fault)
    require(modbus.plain or modbus.tls, "modbus.plain", modbus.plain, "expected true, or modbus.tls")
    require(
        not modbus.host or modbus.host == "localhost" or _is_address(modbus.host),
        "modbus.host",
        modbus.host,
        "expected an address, such as 127.0.0.1, or nothing",
    )
    for key, ports in ports_of_sites(settings):
        host = modbus_host(settings, ports)
        named = "modbus.host" if modbus.host else f"{key}.host"
        require(
            host == "localhost" or is_loopback(host) or bool(modbus.allow.strip()) or not modbus.plain,
            named,
            host,
            "expected loopback (127.0.0.1), or modbus.allow, or modbus.tls without modbus.plain",
        )
    for name in ("certificate", "private_key", "client_ca", "client_crl"):
        value = getattr(modbus, name)
        require(not value or modbus.tls, f"modbus.{name}", value, "expected none without modbus.tls")
    require(
        bool(modbus.certificate) == bool(modbus.private_key),
        "modbus.private_key",
        modbus.private_key,
        "expected both certificate and private_key, or neither",
    )
    _numbers(modbus, require)


def _numbers(modbus: ModbusSettings, require: Require) -> None:
    for name in ("clients_max", "clients_per_address_max"):
        value = getattr(modbus, name)
        require(1 <= value <= CLIENTS_MAX, f"modbus.{name}", value, f"expected 1 to {CLIENTS_MAX}")
    for name, low, high in (
        ("requests_per_s", 1.0, _REQUESTS_PER_S_MAX),
        ("idle_s", _IDLE_S_MIN, _IDLE_S_MAX),
    ):
        value = getattr(modbus, name)
        require(
            math.isfinite(value) and low <= value <= high,
            f"modbus.{name}",
            value,
            f"expected {low:g} to {high:g}",
        )


def ports_of_sites(settings: Settings) -> Iterator[tuple[str, PortSettings]]:
    """Yield the common ports and each site's own, with their key."""
    yield "ports", settings.ports
    for name, site in settings.sites.items():
        if site.ports is not None:
            yield f"sites.{name}.ports", site.ports


def try_modbus(settings: Settings) -> None:
    """See that ports are free and certificates can be used: now, in one line, instead of in some actor's log.

    Raises:
        DeviceError: one is not; the text names the key.

    """
    # Only here: every command reads settings, and cryptography takes its time to load.
    from protocols.modbus.tls import ModbusTls
    from supervisors.adapters import modbus_tls_files

    if (files := modbus_tls_files(settings)) is not None:
        ModbusTls(files)
    for key, ports in ports_of_sites(settings):
        host = modbus_host(settings, ports)
        if settings.modbus.plain:
            _try_port(host, ports.modbus, what=f"{key}.modbus")
        if settings.modbus.tls:
            _try_port(host, ports.modbus_tls, what=f"{key}.modbus_tls")


def _try_port(host: str, port: int, *, what: str) -> None:
    address = "127.0.0.1" if host == "localhost" else host
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        socket.create_server((address, port), family=family).close()
    except OSError as error:
        # Not the library's own text: it says the address twice.
        why = os.strerror(error.errno) if error.errno else str(error)
        raise DeviceError(f"{what}: port {port} on {host} cannot be bound ({why})") from error


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
