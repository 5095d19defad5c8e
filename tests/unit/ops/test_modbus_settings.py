"""What Modbus settings must keep, and what a run sees before it starts."""

from __future__ import annotations

import socket
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from actors.vocabulary import DeviceError, InvalidValueError, Settings
from actors.vocabulary.settings import ModbusSettings, PortSettings
from ops import certificates
from ops.modbus_settings import try_modbus
from ops.settings import load


def loaded(**keys: Any) -> Settings:
    options = {key.replace("__", "."): value for key, value in keys.items()}
    return load(file=None, environment={}, options=options).settings


@pytest.mark.parametrize(
    ("keys", "complaint"),
    [
        ({"modbus__host": "0.0.0.0"}, "modbus.host.*modbus.allow"),
        ({"modbus__host": "plc.example"}, "modbus.host.*an address"),
        ({"modbus__host": "0.0.0.0", "modbus__tls": True}, "modbus.host.*modbus.allow"),
        ({"modbus__allow": "10.0.0.0/8"}, "modbus.allow.*no role"),
        ({"modbus__allow": "10.0.0.0/8=BOSS"}, "modbus.allow.*BOSS"),
        ({"modbus__plain": False}, "modbus.plain.*modbus.tls"),
        ({"modbus__certificate": "/x.pem"}, "modbus.certificate.*without modbus.tls"),
        ({"modbus__tls": True, "modbus__certificate": "/x.pem"}, "modbus.private_key.*both"),
        ({"modbus__client_crl": "/x.pem"}, "modbus.client_crl.*without modbus.tls"),
        ({"modbus__clients_max": 0}, "modbus.clients_max.*1 to 1024"),
        ({"modbus__clients_per_address_max": 2000}, "modbus.clients_per_address_max.*1 to 1024"),
        ({"modbus__requests_per_s": float("nan")}, "modbus.requests_per_s"),
        ({"modbus__idle_s": 1.0}, "modbus.idle_s.*5 to 3600"),
        ({"modbus__tls": True, "ports__modbus_tls": 5020}, "the same port as"),
    ],
)
def test_a_setting_that_lets_everybody_in_or_cannot_be_meant_is_named(
    keys: dict[str, Any], complaint: str
) -> None:
    """MOD-4, CFG-1: beyond loopback only with a list, or by TLS alone; every error names its key."""
    with pytest.raises(InvalidValueError, match=complaint):
        loaded(**keys)


def test_what_is_meant_is_taken() -> None:
    """MOD-1, MOD-4: a list opens other addresses, so does TLS alone; unused TLS ports collide with nobody."""
    assert loaded(modbus__host="0.0.0.0", modbus__allow="10.0.0.0/8=FIELD").modbus.host == "0.0.0.0"
    assert not loaded(modbus__host="::", modbus__tls=True, modbus__plain=False).modbus.plain
    assert loaded(ports__modbus_tls=5020).ports.modbus_tls == 5020
    assert loaded().modbus == ModbusSettings()


def test_a_taken_port_and_missing_certificates_are_named_before_anything_starts(tmp_path: Path) -> None:
    """MOD-1, SEC-4: one line with the key, not some actor's log."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        settings = Settings(data_dir=str(tmp_path), ports=PortSettings(modbus=port))
        with pytest.raises(DeviceError, match=rf"ports\.modbus: port {port} on 127\.0\.0\.1 cannot be bound"):
            try_modbus(settings)
    with socket.create_server(("127.0.0.1", 0)) as freed:
        port = freed.getsockname()[1]
    settings = Settings(
        data_dir=str(tmp_path),
        ports=PortSettings(modbus_tls=port),
        modbus=ModbusSettings(tls=True, plain=False),
    )
    with pytest.raises(DeviceError, match=r"modbus\.tls: .*modbus\.pem"):
        try_modbus(settings)
    certificates.init(tmp_path / "certs", hosts=[], now=datetime.now(UTC))  # noqa: TID251  (certificates are of this day)
    try_modbus(settings)
