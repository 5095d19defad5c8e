"""How much of a private key's work one address, and all of them, may ask for."""

from __future__ import annotations

import pytest

from protocols.opcua import quota
from protocols.opcua.admission import source_of
from protocols.opcua.quota import Quota


def test_a_burst_then_so_many_a_second() -> None:
    """OPC-5: three at once, then one every two seconds; what was refused costs nothing more."""
    one = Quota(burst=3, per_s=0.5, share=100)
    assert [one.take("a", 10.0) for _ in range(5)] == [True, True, True, False, False]
    assert not one.take("a", 11.9)
    assert one.take("a", 12.1)
    assert not one.take("a", 12.2)
    # A long rest gives a burst and no more.
    assert [one.take("a", 10_000.0) for _ in range(4)] == [True, True, True, False]


def test_addresses_do_not_take_from_each_other_until_all_together_are_too_many() -> None:
    """OPC-5: each has its own part, and `share` of them may take theirs at the same time."""
    one = Quota(burst=2, per_s=0.0, share=2)
    assert [one.take("a", 1.0) for _ in range(3)] == [True, True, False]
    assert [one.take("b", 1.0) for _ in range(3)] == [True, True, False]
    assert not one.take("c", 1.0)


def test_a_clock_that_goes_back_gives_nothing() -> None:
    """OPC-5: time that runs backwards fills no bucket."""
    one = Quota(burst=1, per_s=1.0, share=9)
    assert one.take("a", 100.0)
    assert not one.take("a", 50.0)
    assert not one.take("a", 50.5)


def test_many_addresses_are_not_remembered_for_ever() -> None:
    """OPC-5: the memory is bounded; who was quiet longest is forgotten."""
    one = Quota(burst=1, per_s=0.0, share=10**6)
    for number in range(quota.ADDRESSES_MAX + 500):
        one.take(str(number), 1.0)
    assert len(one) == quota.ADDRESSES_MAX


@pytest.mark.parametrize(
    ("peer", "source"),
    [
        ("192.0.2.7:4711", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6:4711", "2001:0db8:0001:0002"),
        ("2001:db8:1:2::9:4711", "2001:0db8:0001:0002"),
        ("::ffff:192.0.2.7:4711", "192.0.2.7"),
        ("fe80::1%eth0:4711", "fe80:0000:0000:0000"),
        ("unknown", ""),
    ],
)
def test_whose_share_it_is(peer: str, source: str) -> None:
    """OPC-5: one customer of IPv6 has more addresses than anybody can count, and is one all the same."""
    assert source_of(peer) == source
