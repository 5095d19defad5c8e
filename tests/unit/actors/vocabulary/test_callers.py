"""Who asks, by which roles, and where doors of this machine are."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from actors.vocabulary import InvalidValueError, Settings
from actors.vocabulary.access import Operation, UserRole
from actors.vocabulary.callers import Caller, Shown, roles_named
from actors.vocabulary.settings import ApiSettings, ModbusSettings, PortSettings, health_host, modbus_host
from actors.vocabulary.users import Account, AccountKind, nothing


def test_a_caller_may_what_one_of_its_roles_may_and_a_key_narrows_it() -> None:
    """SEC-2: by the one table of permissions; a scope takes away and gives nothing."""
    roles = frozenset({UserRole.READ_ONLY, UserRole.OPERATOR})
    caller = Caller(name="anna", roles=roles, how=Shown.PASSWORD)
    assert caller.may(Operation.SET_STOP)
    assert not caller.may(Operation.MANAGE_USERS)
    narrow = Caller(
        name="anna", roles=roles, how=Shown.PASSWORD, operations=frozenset({Operation.MANAGE_USERS})
    )
    assert not any(narrow.may(operation) for operation in Operation)


def test_roles_are_named_with_commas_between() -> None:
    """SEC-2: in any case, none in an empty list, and a name that is none is told."""
    assert roles_named(" operator, READ_ONLY ,") == {UserRole.OPERATOR, UserRole.READ_ONLY}
    assert roles_named("") == frozenset()
    with pytest.raises(InvalidValueError, match="'CAPTAIN'"):
        roles_named("operator, captain")


@pytest.mark.parametrize(
    ("host", "shown"),
    [
        ("127.0.0.2", "127.0.0.2"),
        ("localhost", "localhost"),
        ("::1", "::1"),
        ("0.0.0.0", "127.0.0.1"),
        ("plant.example", "127.0.0.1"),
    ],
)
def test_health_is_on_loopback_whatever_rest_is_reached_at(host: str, shown: str) -> None:
    """SEC-4: it knows no users and speaks no TLS; a name is not known to be this machine."""
    assert health_host(ApiSettings(host=host)) == shown


def test_modbus_listens_where_it_is_told_else_beside_its_ports() -> None:
    """MOD-1: the setting comes first."""
    ports = PortSettings(host="127.0.0.9")
    assert modbus_host(Settings(data_dir="unused"), ports) == "127.0.0.9"
    settings = Settings(data_dir="unused", modbus=ModbusSettings(host="127.0.0.8"))
    assert modbus_host(settings, ports) == "127.0.0.8"


def test_a_change_that_is_no_event_is_told_nobody() -> None:
    """AUD-1: what `nothing` tells is nothing."""
    account = Account(
        user_id="anna",
        kind=AccountKind.PERSON,
        role=UserRole.OPERATOR,
        created_at=datetime(2026, 6, 1, tzinfo=UTC),
        created_by="x",
    )
    assert nothing(account, account, ()) == ()
