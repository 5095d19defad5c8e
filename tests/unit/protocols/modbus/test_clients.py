"""Who is let in, and as what: allow lists, roles, budgets by address."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.vocabulary import InvalidValueError
from actors.vocabulary.access import Operation, UserRole
from protocols.modbus.clients import LOOPBACK_ROLES, OPERATIONS, allow_list, role_named
from protocols.modbus.limits import ADDRESSES_MAX, ModbusLimits, Register
from protocols.modbus.points import modbus_points
from protocols.points import Access
from tests.unit.protocols.plants import north


def roles(text: str, host: str) -> set[UserRole] | None:
    caller = allow_list(text).caller(host)
    return None if caller is None else set(caller.roles)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"])
def test_without_a_list_this_machine_is_controller_and_operator(host: str) -> None:
    """MOD-4: the two commands of the demo need no list."""
    assert roles("", host) == set(LOOPBACK_ROLES) == {UserRole.FIELD, UserRole.OPERATOR}


@pytest.mark.parametrize("host", ["10.0.0.1", "192.0.2.7", "fe80::1", "unknown", ""])
def test_without_a_list_nobody_else_is_let_in(host: str) -> None:
    """MOD-4: what is not said is refused."""
    assert roles("", host) is None


def test_with_a_list_only_it_counts_and_the_narrowest_network() -> None:
    """MOD-4: rights per client; this machine has to stand there as well."""
    text = "10.1.0.0/16=READ_ONLY, 10.1.2.0/24=field , 10.1.2.3=OPERATOR+FIELD, fd00::/8=READ_ONLY"
    assert roles(text, "10.1.9.9") == {UserRole.READ_ONLY}
    assert roles(text, "10.1.2.9") == {UserRole.FIELD}
    assert roles(text, "10.1.2.3") == {UserRole.OPERATOR, UserRole.FIELD}
    assert roles(text, "::ffff:10.1.2.3") == {UserRole.OPERATOR, UserRole.FIELD}
    assert roles(text, "fd00::17") == {UserRole.READ_ONLY}
    assert roles(text, "10.2.0.1") is None
    assert roles(text, "127.0.0.1") is None


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("10.0.0.1", "no role"), ("10.0.0.1=", "'' is not a valid"), ("10.0.0.1=KING", "'KING'"),
        ("10.0.0.1/8=FIELD", "host bits"), ("plc=FIELD", "'plc'"), ("=FIELD", "''"),
        ("10.0.0.1=FIELD, 10.0.0.1/32=OPERATOR", "twice"), ("10.0.0.1=FIELD+", "''"),
        (", ".join(f"10.0.{n // 256}.{n % 256}=FIELD" for n in range(300)), "at most 256"),
    ],
)  # fmt: skip
def test_a_list_that_cannot_be_meant_is_refused_by_its_entry(text: str, complaint: str) -> None:
    """MOD-4, CFG-1: a slip never lets somebody in."""
    with pytest.raises(InvalidValueError, match=complaint):
        allow_list(text)


@given(st.text(max_size=40), st.text(max_size=20))
def test_no_text_crashes_the_door(text: str, host: str) -> None:
    """MOD-4: whatever is configured or connects, the answer is somebody, nobody or a typed error."""
    try:
        allow_list(text).caller(host)
    except InvalidValueError:
        return


def test_every_writable_point_has_its_operation_in_the_one_table() -> None:
    """SEC-2: a point that is made writable without a right would be a hole: there is none."""
    writable = {point.point for point in modbus_points(north()) if point.access is not Access.READ}
    assert writable == set(OPERATIONS)
    field = allow_list("10.0.0.1=FIELD").caller("10.0.0.1")
    assert field is not None
    assert {point for point, operation in OPERATIONS.items() if field.may(operation)} == {
        point for point, operation in OPERATIONS.items() if operation is Operation.WRITE_FEEDBACK
    }


@pytest.mark.parametrize(
    ("text", "role"),
    [
        ("FIELD", UserRole.FIELD),
        ("Read-Only", UserRole.READ_ONLY),
        (" operator ", UserRole.OPERATOR),
        ("root", None),
    ],
)
def test_the_role_of_a_certificate_is_one_of_ours_or_none(text: str, role: UserRole | None) -> None:
    """SEC-2: certificates name the roles of the table."""
    assert role_named(text) is role


def test_an_address_that_calls_again_has_what_it_had_left() -> None:
    """MOD-4: hanging up does not fill a bucket; loopback connections are clients of their own."""
    register = Register(
        ModbusLimits(requests_per_s=0.001, requests_burst=3, connects_per_s=0.001, connects_burst=2)
    )
    for host in ("10.0.0.1", "10.0.0.2"):
        assert [register.may_connect(host, now_s=1.0) for _ in range(3)] == [True, True, False]
        first = register.budgets(host, now_s=1.0)
        assert [first.reads.take(1.0) for _ in range(4)] == [True, True, True, False]
        assert not register.budgets(host, now_s=2.0).reads.take(2.0)
        assert register.budgets(host, now_s=2.0).writes.take(2.0), "reads and writes are counted apart"
    assert all(register.may_connect("127.0.0.1", now_s=1.0) for _ in range(100))
    one, other = register.budgets("127.0.0.1", now_s=1.0), register.budgets("127.0.0.1", now_s=1.0)
    assert one is not other


def test_what_is_remembered_of_addresses_is_bounded() -> None:
    """MOD-4: a scan from a whole network costs no memory."""
    register = Register(ModbusLimits())
    for number in range(3 * ADDRESSES_MAX):
        register.may_connect(f"10.0.{number // 256}.{number % 256}", now_s=float(number))
    assert len(register) == ADDRESSES_MAX
