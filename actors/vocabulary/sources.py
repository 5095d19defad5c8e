"""What counts as one client by its address: the unit of everything that is counted by address (SEC-5)."""

from __future__ import annotations

import ipaddress
from functools import lru_cache
from typing import Final

# Whoever has an IPv6 address has the other 2^64 of its subnet as well (RFC 6177): all of them are one client.
_SUBNET_BITS: Final = 64
_REMEMBERED: Final = 4_096


@lru_cache(maxsize=_REMEMBERED)
def source_of(address: str) -> str:
    """Return what an address is counted as: itself (IPv4, also written as IPv6, and loopback) or its /64 (IPv6).

    What is no address is returned as it is.
    """
    try:
        known = plain(address)
    except ValueError:
        return address
    if isinstance(known, ipaddress.IPv4Address) or known.is_loopback:
        return str(known)
    return str(ipaddress.IPv6Network((known.packed, _SUBNET_BITS), strict=False))


def source_of_peer(peer: str) -> str:
    """Return what the sender of `ADDRESS:PORT` is counted as."""
    return source_of((peer.rpartition(":")[0] or peer).strip("[]"))


def plain(address: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """Return an address; an IPv4 one that is written as IPv6 (`::ffff:192.0.2.1`) as IPv4.

    Raises:
        ValueError: it is none.

    """
    known = ipaddress.ip_address(address)
    return (isinstance(known, ipaddress.IPv6Address) and known.ipv4_mapped) or known


def is_same(address: str, other: str) -> bool:
    """Say whether two texts are one address; what is none is the same as nothing."""
    try:
        return plain(address) == plain(other)
    except ValueError:
        return False
