"""The connection to the broker: an MQTT client with its will, TLS and bounds, and how long to wait for the next."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Final, NamedTuple, cast

import aiomqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from actors.vocabulary import DeviceError
from actors.vocabulary.settings import SparkplugSettings
from protocols.sparkplug.desk import BYTES_MAX
from protocols.sparkplug.edge import Outgoing
from protocols.sparkplug.incoming import INCOMING_MAX, Incoming

# What it has to say we hear as errors; the rest would be lines on a stream that nobody reads.
aiomqtt.client.MQTT_LOGGER.disabled = True

MQTT_5: Final = 5
CONNECT_S: Final = 5.0
PUBLISH_S: Final = 5.0
GOODBYE_S: Final = 2.0
PACKET_BYTES_MAX: Final = BYTES_MAX + 512
"""The longest message that an MQTT 5 broker may hand to us; with 3.1.1 the broker's own limit holds."""
PASSWORD_BYTES_MAX: Final = 4_096

BACK_OFF_S: Final = 0.5
BACK_OFF_S_MAX: Final = 30.0
_FAILURES: Final = range(0x80, 0x100)


def back_off_s(attempt: int, chance: float) -> float:
    """Return how long to wait before the next connection: doubling, with half of it by chance.

    A broker that returns must not be met by all sites in the same moment.
    """
    whole_s = min(BACK_OFF_S * 2.0 ** min(attempt, 16), BACK_OFF_S_MAX)
    return whole_s * (0.5 + 0.5 * chance)


def port_of(settings: SparkplugSettings) -> int:
    """Return the broker's port: the one configured, else the registered one."""
    return settings.port or (8883 if settings.tls else 1883)


def peer_of(settings: SparkplugSettings) -> str:
    """Return the broker as a URL without secrets."""
    return f"{'mqtts' if settings.tls else 'mqtt'}://{settings.host}:{port_of(settings)}"


class Credentials(NamedTuple):
    """What one connection needs from files."""

    password: str | None
    tls: ssl.SSLContext | None


def credentials_of(settings: SparkplugSettings) -> Credentials:
    """Read password and certificates; done for each connection, so both may change. Blocks for the disk.

    Raises:
        OSError: a file cannot be read.
        DeviceError: the password's file is too long to be one.

    """
    return Credentials(_password(settings), _tls(settings) if settings.tls else None)


def client_of(
    settings: SparkplugSettings,
    credentials: Credentials,
    *,
    identifier: str,
    will: Outgoing,
    incoming: Callable[..., Incoming],
) -> aiomqtt.Client:
    """Return a client for one connection, which `async with` opens; `incoming` makes what its messages wait in."""
    newest = settings.mqtt_version == MQTT_5
    return aiomqtt.Client(
        settings.host,
        port_of(settings),
        username=settings.user or None,
        password=credentials.password,
        identifier=identifier,
        protocol=aiomqtt.ProtocolVersion.V5 if newest else aiomqtt.ProtocolVersion.V311,
        will=aiomqtt.Will(will.topic, will.payload, qos=will.qos, retain=will.retain),
        # A session of Sparkplug begins with nothing left of the last one.
        clean_session=None if newest else True,
        clean_start=True if newest else 3,
        properties=_connect_properties() if newest else None,
        timeout=CONNECT_S,
        keepalive=settings.keepalive_s,
        queue_type=cast("type[Incoming]", incoming),
        max_queued_incoming_messages=INCOMING_MAX,
        tls_context=credentials.tls,
    )


def _connect_properties() -> Any:
    properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
    properties.SessionExpiryInterval = 0
    properties.MaximumPacketSize = PACKET_BYTES_MAX
    return properties


def _password(settings: SparkplugSettings) -> str | None:
    if settings.password_file:
        with Path(settings.password_file).open("rb") as file:
            content = file.read(PASSWORD_BYTES_MAX + 1)
        if len(content) > PASSWORD_BYTES_MAX:
            raise DeviceError("sparkplug.password_file: longer than a password")
        return content.decode("utf-8", errors="replace").rstrip("\r\n")
    return settings.password or None


def _tls(settings: SparkplugSettings) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=settings.ca_file or None)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if settings.cert_file:
        context.load_cert_chain(settings.cert_file, settings.key_file or None)
    return context


@asynccontextmanager
async def connected(client: aiomqtt.Client) -> AsyncIterator[None]:
    """Hold a connection open.

    Raises:
        aiomqtt.MqttError: it could not be made.

    """
    try:
        async with client:
            yield
    finally:
        lost = client._disconnected
        if lost.done() and not lost.cancelled():
            # Whoever waited for something else has told why; nobody asks this future any more.
            lost.exception()


async def subscribe(client: aiomqtt.Client, topics: tuple[str, ...], *, newest: bool) -> None:
    """Subscribe with quality of service 1.

    Raises:
        DeviceError: the broker refuses one: without commands there is no rebirth, and hosts could not be served.
        aiomqtt.MqttError: the connection is lost.

    """
    if newest:
        options = SubscribeOptions(qos=1, retainAsPublished=True)
        granted = await client.subscribe([(topic, options) for topic in topics])
    else:
        granted = await client.subscribe([(topic, 1) for topic in topics])
    for topic, code in zip(topics, granted, strict=False):
        if code.is_failure if isinstance(code, ReasonCode) else code in _FAILURES:
            raise DeviceError(f"the broker refuses the subscription to {topic}")


async def barrier(client: aiomqtt.Client, topic: str) -> None:
    """Return when the broker has taken all that was published before: it answers in order.

    Messages of quality of service 0 are never confirmed; leaving a topic that nobody entered is, and changes nothing.

    Raises:
        aiomqtt.MqttError: the connection is lost, or the broker does not answer.

    """
    await client.unsubscribe(topic, timeout=PUBLISH_S)


async def goodbye(client: aiomqtt.Client, death: Outgoing, *, newest: bool) -> None:
    """Publish the death and leave; a connection that is lost needs neither: the broker publishes the will."""
    with suppress(aiomqtt.MqttError):
        await client.publish(death.topic, death.payload, qos=death.qos, timeout=GOODBYE_S)
        if newest:
            # Sparkplug on MQTT 5: the broker is told to publish the will all the same.
            code = ReasonCode(PacketTypes.DISCONNECT, "Disconnect with will message")
            client._client.disconnect(reasoncode=code)
            await client._wait_for(client._disconnected, timeout=GOODBYE_S)
