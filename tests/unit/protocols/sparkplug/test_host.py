"""STATE messages of a primary host, in both of its lives and out of order."""

from __future__ import annotations

import pytest

from protocols.sparkplug.host import HostWord, PrimaryHost, state_topic

TOPIC = state_topic("scada")


def there(host: PrimaryHost) -> bool:
    return host.online


def told(online: bool, at: int) -> bytes:
    return f'{{"online": {str(online).lower()}, "timestamp": {at}}}'.encode()


def test_without_a_primary_host_somebody_always_listens() -> None:
    """SPB-1: none is asked for, so none is waited for."""
    host = PrimaryHost("")
    assert (host.online, host.topic) == (True, "")
    host.connected()
    assert there(host)


def test_it_is_there_from_its_birth_to_its_death() -> None:
    """SPB-1: unknown is away; online and offline are taken in the order of their timestamps, equal ones too."""
    host = PrimaryHost("scada")
    assert not there(host)
    assert host.take(TOPIC, told(True, 10)) is HostWord.ONLINE
    assert there(host)
    assert host.take(TOPIC, told(False, 9)) is HostWord.NOTHING, "a late will of its former life"
    assert there(host)
    assert host.take(TOPIC, told(False, 10)) is HostWord.OFFLINE
    assert not there(host)


def test_an_old_birth_does_not_bring_it_back() -> None:
    """SPB-1: the timestamp of a birth must not be below the last one's."""
    host = PrimaryHost("scada")
    host.take(TOPIC, told(False, 10))
    assert host.take(TOPIC, told(True, 9)) is HostWord.NOTHING
    assert not there(host)


def test_a_new_connection_knows_nothing() -> None:
    """SPB-1: each broker's own retained message counts; a clock that once ran ahead must not shut us out for ever."""
    host = PrimaryHost("scada")
    host.take(TOPIC, told(True, 10**15))
    host.connected()
    assert not there(host)
    assert host.take(TOPIC, told(True, 5)) is HostWord.ONLINE


@pytest.mark.parametrize(
    "content",
    [b"", b"ONLINE", b"\xff\xfe", b"[]", b'{"online": "yes", "timestamp": 1}', b'{"online": true}',
     b'{"online": true, "timestamp": 1.5}', b'{"online": true, "timestamp": 1, "x": "' + b"a" * 2_000 + b'"}'],
)  # fmt: skip
def test_a_malformed_message_says_nothing(content: bytes) -> None:
    """SPB-1: the old format (plain ONLINE) included: 3.0 has JSON."""
    host = PrimaryHost("scada")
    assert host.take(TOPIC, content) is HostWord.NOTHING
    assert not there(host)


def test_another_host_says_nothing() -> None:
    """SPB-1: only the configured host id, in its own case."""
    host = PrimaryHost("scada")
    assert host.take(state_topic("SCADA"), told(True, 1)) is HostWord.NOTHING
    assert not there(host)
