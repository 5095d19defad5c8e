"""Goal: the permission table is the one that SPEC asks for. Method: the sentences of SPEC, one by one."""

from __future__ import annotations

import pytest

from actors.vocabulary import Scope
from actors.vocabulary.access import PERMISSIONS, Operation, UserRole, clear_operation, may, operations_of

ABOVE_OPERATOR = (UserRole.OPERATOR, UserRole.ENGINEER, UserRole.ADMINISTRATOR)


def test_every_operation_is_somebodys_and_has_a_meaning() -> None:
    """SEC-2: no operation without a row, none that nobody may do."""
    assert set(PERMISSIONS) == set(Operation)
    assert all(row.roles and row.meaning for row in PERMISSIONS.values())


def test_field_writes_feedback_and_nothing_else() -> None:
    """SEC-2: FIELD writes feedback, nothing else; nobody else writes it."""
    reading = {Operation.READ_POINTS, Operation.OWN_ACCOUNT}
    assert operations_of(UserRole.FIELD) - reading == {Operation.WRITE_FEEDBACK}
    assert PERMISSIONS[Operation.WRITE_FEEDBACK].roles == {UserRole.FIELD}


def test_read_only_changes_nothing_but_its_own_account() -> None:
    """SEC-2: READ_ONLY reads."""
    assert operations_of(UserRole.READ_ONLY) == {
        Operation.READ_POINTS,
        Operation.READ_PLANT,
        Operation.READ_AUDIT,
        Operation.OWN_ACCOUNT,
    }


@pytest.mark.parametrize(
    "operation",
    [Operation.ACKNOWLEDGE_ALARM, Operation.SET_MODE, Operation.SET_STOP, Operation.CLEAR_STOP],
)
def test_operators_acknowledge_set_modes_and_stop(operation: Operation) -> None:
    """SEC-2, EST-2: OPERATOR and above, nobody below."""
    assert [role for role in UserRole if may(role, operation)] == list(ABOVE_OPERATOR)


@pytest.mark.parametrize(
    "operation", [Operation.PROPOSE_LIMITS, Operation.APPROVE_LIMITS, Operation.CONFIGURE]
)
def test_engineers_change_configuration_and_limits(operation: Operation) -> None:
    """SEC-2, SAF-6: ENGINEER and above."""
    assert [role for role in UserRole if may(role, operation)] == [UserRole.ENGINEER, UserRole.ADMINISTRATOR]


@pytest.mark.parametrize("operation", [Operation.MANAGE_USERS, Operation.MANAGE_CERTIFICATES])
def test_administrators_alone_manage_users_and_certificates(operation: Operation) -> None:
    """SEC-2: ADMINISTRATOR (users, certificates)."""
    assert [role for role in UserRole if may(role, operation)] == [UserRole.ADMINISTRATOR]


def test_a_system_stop_is_cleared_by_engineers() -> None:
    """EST-2: OPERATOR and above clear; SYSTEM: ENGINEER and above."""
    assert {scope: clear_operation(scope) for scope in Scope} == {
        Scope.PUMP: Operation.CLEAR_STOP,
        Scope.STATION: Operation.CLEAR_STOP,
        Scope.SITE: Operation.CLEAR_STOP,
        Scope.SYSTEM: Operation.CLEAR_SYSTEM_STOP,
    }
    assert not may(UserRole.OPERATOR, Operation.CLEAR_SYSTEM_STOP)
    assert may(UserRole.ENGINEER, Operation.CLEAR_SYSTEM_STOP)
