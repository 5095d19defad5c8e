"""Goal: everything that counts by address counts one client as one."""

from __future__ import annotations

import pytest

from actors.vocabulary.settings import is_loopback
from actors.vocabulary.sources import is_same, source_of, source_of_peer


@pytest.mark.parametrize(
    ("address", "source"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2:ffff::9", "2001:db8:1:2::/64"),
        ("2001:db8:1:3::1", "2001:db8:1:3::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("::1", "::1"),
        ("127.0.0.1", "127.0.0.1"),
        ("somebody", "somebody"),
        ("", ""),
    ],
)
def test_a_client_is_its_address_or_its_subnet(address: str, source: str) -> None:
    """SEC-5: whoever has one IPv6 address has 2^64 of them; an IPv4 one is the same however it is written."""
    assert source_of(address) == source


@pytest.mark.parametrize(
    ("peer", "source"),
    [
        ("192.0.2.1:8080", "192.0.2.1"),
        ("::ffff:192.0.2.1:8080", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6:8080", "2001:db8:1:2::/64"),
        ("[2001:db8:1:2::6]:8080", "2001:db8:1:2::/64"),
        ("command line", "command line"),
        ("", ""),
    ],
)
def test_a_peer_is_an_address_with_a_port(peer: str, source: str) -> None:
    """SEC-5: of one machine every port is the same client."""
    assert source_of_peer(peer) == source


def test_loopback_is_loopback_however_it_is_written() -> None:
    """SEC-4: a port of both families sees this machine as ::ffff:127.0.0.1."""
    assert is_loopback("::ffff:127.0.0.1")
    assert not is_loopback("::ffff:192.0.2.1")
    assert not is_loopback("127.0.0.1%.evil.example")
    assert is_same("::ffff:192.0.2.1", "192.0.2.1")
    assert not is_same("", "")
