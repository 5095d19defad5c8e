"""The connection to the broker: what it is made of, and what a broker's refusal means."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.reasoncodes import ReasonCode

from actors.vocabulary import DeviceError
from actors.vocabulary.settings import SparkplugSettings
from protocols.sparkplug.link import PASSWORD_BYTES_MAX, credentials_of, peer_of, port_of, subscribe


class Broker:
    """Grants what it is told to grant."""

    def __init__(self, *granted: object) -> None:
        self.granted = list(granted)
        self.asked: Any = None

    async def subscribe(self, topics: Any) -> list[object]:
        self.asked = topics
        return self.granted


def refused(code: str) -> ReasonCode:
    return ReasonCode(PacketTypes.SUBACK, code)


@pytest.mark.parametrize(
    ("granted", "newest"),
    [((1, 0x80), False), ((refused("Granted QoS 1"), refused("Not authorized")), True)],
)
def test_a_subscription_that_the_broker_refuses_is_a_fault_of_the_broker(
    granted: tuple[object, ...], newest: bool
) -> None:
    """SPB-1: without commands there is no rebirth: the node does not pretend to be served, and says which topic."""
    broker: Any = Broker(*granted)
    with pytest.raises(DeviceError, match="refuses the subscription to second"):
        asyncio.run(subscribe(broker, ("first", "second"), newest=newest))


def test_what_is_granted_is_enough() -> None:
    """SPB-1: quality of service 1, and less if the broker grants less."""
    broker: Any = Broker(1, 0)
    asyncio.run(subscribe(broker, ("first", "second"), newest=False))
    assert broker.asked == [("first", 1), ("second", 1)]


def test_the_password_is_read_from_its_file_each_time(tmp_path: Path) -> None:
    """SEC-3: a new password needs no restart; a missing file and one that is no password are told."""
    file = tmp_path / "password"
    settings = SparkplugSettings(host="127.0.0.1", user="u", password_file=str(file))
    with pytest.raises(FileNotFoundError):
        credentials_of(settings)
    for password in ("first", "second"):
        file.write_text(f"{password}\n")
        assert credentials_of(settings).password == password
    file.write_bytes(b"x" * (PASSWORD_BYTES_MAX + 1))
    with pytest.raises(DeviceError):
        credentials_of(settings)


@pytest.mark.parametrize(
    ("settings", "port", "peer"),
    [
        (SparkplugSettings(host="b"), 1883, "mqtt://b:1883"),
        (SparkplugSettings(host="b", tls=True), 8883, "mqtts://b:8883"),
        (SparkplugSettings(host="b", port=5, user="u", password="p"), 5, "mqtt://b:5"),
    ],
)
def test_where_the_broker_is(settings: SparkplugSettings, port: int, peer: str) -> None:
    """SPB-1, SEC-3: registered ports unless configured; a name without secrets."""
    assert (port_of(settings), peer_of(settings)) == (port, peer)
