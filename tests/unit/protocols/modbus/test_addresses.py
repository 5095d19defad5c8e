"""What counts as one client by its address: bounds hold for whoever has a whole IPv6 subnet."""

from __future__ import annotations

from protocols.modbus.limits import ModbusLimits, Register, is_loopback


def test_a_subnet_shares_the_bounds_of_an_address() -> None:
    """MOD-4: a /64 is one client, an IPv4 address the same client however it is written."""
    register = Register(ModbusLimits())
    one = register.budgets("2001:db8:0:1::1", now_s=0.0)
    assert register.budgets("2001:db8:0:1:ffff::2", now_s=0.0) is one
    assert register.budgets("2001:db8:0:2::1", now_s=0.0) is not one
    four = register.budgets("192.0.2.1", now_s=0.0)
    assert register.budgets("::ffff:192.0.2.1", now_s=0.0) is four


def test_loopback_is_loopback_however_it_is_written() -> None:
    """MOD-4: what is this machine's own, and what is only called so."""
    assert is_loopback("::ffff:127.0.0.1")
    assert is_loopback("::1")
    assert not is_loopback("localhost.example")
