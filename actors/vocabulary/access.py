"""Who may do what: roles, operations and the one table between them, for REST, OPC UA and Modbus alike (SEC-2).

A role takes nothing from another: what it may stands in its own column, and what is absent is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum, unique
from typing import Final

import msgspec

from actors.vocabulary.codes import Scope


@unique
class UserRole(StrEnum):
    """What a user, a service account or a certificate is allowed as."""

    READ_ONLY = "READ_ONLY"
    FIELD = "FIELD"
    OPERATOR = "OPERATOR"
    ENGINEER = "ENGINEER"
    ADMINISTRATOR = "ADMINISTRATOR"


@unique
class Operation(StrEnum):
    """What can be asked of Calejo, whatever the protocol; every REST route, method and writable point names one."""

    READ_POINTS = "READ_POINTS"
    READ_PLANT = "READ_PLANT"
    READ_AUDIT = "READ_AUDIT"
    WRITE_FEEDBACK = "WRITE_FEEDBACK"
    WRITE_HEARTBEAT = "WRITE_HEARTBEAT"
    SET_STOP = "SET_STOP"
    CLEAR_STOP = "CLEAR_STOP"
    CLEAR_SYSTEM_STOP = "CLEAR_SYSTEM_STOP"
    ACKNOWLEDGE_ALARM = "ACKNOWLEDGE_ALARM"
    SET_MODE = "SET_MODE"
    REQUEST_SETPOINT = "REQUEST_SETPOINT"
    RETRY_ACTOR = "RETRY_ACTOR"
    DISCOVER = "DISCOVER"
    PROPOSE_LIMITS = "PROPOSE_LIMITS"
    APPROVE_LIMITS = "APPROVE_LIMITS"
    CONFIGURE = "CONFIGURE"
    MANAGE_USERS = "MANAGE_USERS"
    MANAGE_CERTIFICATES = "MANAGE_CERTIFICATES"
    OWN_ACCOUNT = "OWN_ACCOUNT"


class Permission(msgspec.Struct, frozen=True, kw_only=True):
    """One row of the table: what the operation is, and who may."""

    meaning: str
    roles: frozenset[UserRole]


_PERSONS: Final = frozenset(UserRole) - {UserRole.FIELD}
_OPERATORS: Final = frozenset({UserRole.OPERATOR, UserRole.ENGINEER, UserRole.ADMINISTRATOR})
_ENGINEERS: Final = frozenset({UserRole.ENGINEER, UserRole.ADMINISTRATOR})
_ADMINISTRATORS: Final = frozenset({UserRole.ADMINISTRATOR})


def _row(meaning: str, roles: frozenset[UserRole]) -> Permission:
    return Permission(meaning=meaning, roles=roles)


PERMISSIONS: Final[Mapping[Operation, Permission]] = {
    # A PLC must be able to read the handshake block that it obeys (WDG-4).
    Operation.READ_POINTS: _row("read points: setpoints, status, feedback, the map", frozenset(UserRole)),
    Operation.READ_PLANT: _row(
        "read everything else about the plant: plans, decisions, stops, alarms, limits, tree, history",
        _PERSONS,
    ),
    # An auditor is READ_ONLY: who may see the plant may see who did what to it.
    Operation.READ_AUDIT: _row("search, verify and export the audit trail", _PERSONS),
    Operation.WRITE_FEEDBACK: _row(
        "write a station's feedback points, its PLC's heartbeat among them", frozenset({UserRole.FIELD})
    ),
    Operation.WRITE_HEARTBEAT: _row("write the SCADA heartbeat of a station", _OPERATORS),
    Operation.SET_STOP: _row("set an emergency stop, of any scope", _OPERATORS),
    Operation.CLEAR_STOP: _row("clear emergency stops of pumps, stations and sites", _OPERATORS),
    Operation.CLEAR_SYSTEM_STOP: _row("clear emergency stops of the whole system", _ENGINEERS),
    Operation.ACKNOWLEDGE_ALARM: _row("acknowledge and shelve alarms", _OPERATORS),
    Operation.SET_MODE: _row("AUTO, MANUAL and OUT_OF_SERVICE of a pump", _OPERATORS),
    Operation.REQUEST_SETPOINT: _row("the speed of a pump in MANUAL, through the safety layer", _OPERATORS),
    Operation.RETRY_ACTOR: _row("take a process out of quarantine", _OPERATORS),
    Operation.DISCOVER: _row("have the configuration read from the database at once", _OPERATORS),
    Operation.PROPOSE_LIMITS: _row("propose a pump's limits, withdraw one's own proposal", _ENGINEERS),
    Operation.APPROVE_LIMITS: _row("approve or reject somebody else's proposal", _ENGINEERS),
    Operation.CONFIGURE: _row(
        "see the settings in force (who may write their file may change them)", _ENGINEERS
    ),
    Operation.MANAGE_USERS: _row(
        "users, service accounts, their keys, everybody's sessions", _ADMINISTRATORS
    ),
    Operation.MANAGE_CERTIFICATES: _row(
        "see certificates and their expiry (who may write the data directory may change them, and trust)",
        _ADMINISTRATORS,
    ),
    Operation.OWN_ACCOUNT: _row("one's own password, second factor and sessions", frozenset(UserRole)),
}
assert set(PERMISSIONS) == set(Operation), "every operation has its row"


def may(role: UserRole, operation: Operation) -> bool:
    """Say whether a role is allowed an operation."""
    return role in PERMISSIONS[operation].roles


def operations_of(role: UserRole) -> frozenset[Operation]:
    """Return everything that a role is allowed."""
    return frozenset(operation for operation in Operation if may(role, operation))


def clear_operation(scope: Scope) -> Operation:
    """Return what clearing a stop of `scope` is (EST-2)."""
    return Operation.CLEAR_SYSTEM_STOP if scope is Scope.SYSTEM else Operation.CLEAR_STOP
