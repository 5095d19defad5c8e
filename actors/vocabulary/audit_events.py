"""Every event type of the audit trail with its meaning, usual severity and the clauses it serves, as data (AUD-2).

Who writes a record names one of these; storage adds the clauses. The clauses are a mapping for an auditor's
orientation, no claim of conformity: CR: IEC 62443-4-2:2019 component requirement; A: ISO/IEC 27001:2022, Annex A;
21.2 and 23: Directive (EU) 2022/2555 (NIS2), articles 21(2) and 23.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum, unique
from typing import Final, NamedTuple

from actors.vocabulary.codes import Severity


@unique
class Category(StrEnum):
    """Which report an event belongs to."""

    ACCESS = "access"
    EMERGENCY = "emergency"
    LIMITS = "limits"
    CHANGE = "change"
    OPERATION = "operation"
    INTEGRITY = "integrity"


@unique
class Origin(StrEnum):
    """Which part of Calejo writes it. USERS: users, sessions and certificates."""

    CORE = "core"
    USERS = "users"


class EventType(NamedTuple):
    """One event type: a record may carry another severity, when its outcome is worse than usual."""

    meaning: str
    category: Category
    severity: Severity
    clauses: tuple[str, ...]
    origin: Origin = Origin.CORE


_LOGGED: Final = ("CR 2.8", "A.8.15", "21.2(b)")
_CHANGED: Final = ("CR 2.8", "CR 7.6", "A.8.9", "A.8.32", "21.2(e)")
_LIMIT: Final = ("CR 2.8", "CR 2.1", "A.8.32", "A.5.3", "21.2(e)")
_STOPPED: Final = ("CR 2.8", "CR 2.12", "A.5.26", "21.2(b)", "23")
_MODE: Final = ("CR 2.8", "CR 2.12", "A.8.15", "21.2(b)")
_REFUSED: Final = ("CR 2.1", "CR 2.8", "CR 3.5", "A.8.3", "21.2(i)")
_TRAIL: Final = ("CR 3.9", "CR 6.1", "A.8.15", "21.2(b)", "23")
_KEY: Final = ("CR 4.3", "CR 3.9", "A.8.24", "21.2(h)")
_STARTED: Final = ("CR 2.8", "CR 7.4", "A.8.15", "21.2(c)")
_FAILED: Final = ("CR 2.10", "CR 3.6", "A.8.16", "21.2(c)", "23")
_LOGIN: Final = ("CR 1.1", "CR 1.5", "CR 2.8", "A.8.5", "21.2(i)")
_LOCKED: Final = ("CR 1.11", "CR 2.8", "A.8.5", "A.8.16", "21.2(i)")
_SESSION: Final = ("CR 2.6", "CR 2.7", "CR 2.8", "A.8.5", "21.2(i)")
_ACCOUNT: Final = ("CR 1.3", "CR 1.4", "CR 2.8", "A.5.16", "A.5.18", "21.2(i)")
_SECRET: Final = ("CR 1.5", "CR 1.7", "CR 2.8", "A.5.17", "21.2(i)")
_FACTOR: Final = ("CR 1.1", "CR 2.8", "A.8.5", "21.2(j)")
_CERTIFICATE: Final = ("CR 1.8", "CR 1.9", "CR 2.8", "A.8.24", "21.2(h)")
_FLOOD: Final = ("CR 7.1", "CR 2.8", "A.8.16", "21.2(b)")

_LOW, _MEDIUM, _HIGH, _CRITICAL = Severity.LOW, Severity.MEDIUM, Severity.HIGH, Severity.CRITICAL
_USERS: Final = Origin.USERS

EVENT_TYPES: Final[Mapping[str, EventType]] = {
    # ---- emergency operation
    "EMERGENCY_STOP_SET": EventType("An emergency stop was set", Category.EMERGENCY, _CRITICAL, _STOPPED),
    "EMERGENCY_STOP_CLEARED": EventType("A stop was cleared, by name", Category.EMERGENCY, _HIGH, _STOPPED),
    "EMERGENCY_STOP_REFUSED": EventType(
        "Setting a stop was refused (its id is taken, there is no such scope)",
        Category.EMERGENCY,
        _HIGH,
        _STOPPED,
    ),
    "EMERGENCY_STOP_CLEAR_REFUSED": EventType(
        "Clearing stops was refused", Category.EMERGENCY, _HIGH, _STOPPED
    ),
    "EMERGENCY_STOP_UNCONFIRMED": EventType(
        "Neither disk nor endpoint had taken a stop when it was answered; it is tried on",
        Category.EMERGENCY,
        _CRITICAL,
        _STOPPED,
    ),
    "EMERGENCY_STOP_CLEAR_UNCONFIRMED": EventType(
        "It was answered that nobody knew whether stops are cleared; what became of it follows",
        Category.EMERGENCY,
        _HIGH,
        _STOPPED,
    ),
    "OUT_OF_SERVICE_SET": EventType(
        "A pump was taken out of service", Category.EMERGENCY, _CRITICAL, _STOPPED
    ),
    "OUT_OF_SERVICE_CLEARED": EventType(
        "A pump was returned to service", Category.EMERGENCY, _HIGH, _STOPPED
    ),
    "FAILSAFE_ENTERED": EventType(
        "A pump, station or site went into failsafe", Category.EMERGENCY, _HIGH, _FAILED
    ),
    "FAILSAFE_LEFT": EventType("A failsafe ended", Category.EMERGENCY, _MEDIUM, _FAILED),
    # ---- operation
    "MODE_SET": EventType("A person commanded a pump's mode", Category.OPERATION, _MEDIUM, _MODE),
    "MODE_REFUSED": EventType("A command of a mode was refused", Category.OPERATION, _MEDIUM, _MODE),
    "MODE_UNCONFIRMED": EventType(
        "It was answered that nobody knew whether a pump took a mode; if it did, its MODE_SET says so",
        Category.OPERATION,
        _MEDIUM,
        _MODE,
    ),
    "CLEAN_OUT_STARTED": EventType(
        "A person ordered a clean-out: one pump may run below its dry-run level",
        Category.OPERATION,
        _MEDIUM,
        _MODE,
    ),
    "CLEAN_OUT_REFUSED": EventType("An order to clean out was refused", Category.OPERATION, _MEDIUM, _MODE),
    "CLEAN_OUT_ENDED": EventType("A clean-out ended, with what ended it", Category.OPERATION, _MEDIUM, _MODE),
    "MODE_EXPIRED": EventType("A mode given for a time ended", Category.OPERATION, _MEDIUM, _MODE),
    "ALARM_ACKNOWLEDGED": EventType("A person has seen an alarm", Category.OPERATION, _LOW, _MODE),
    "ALARM_ACKNOWLEDGE_REFUSED": EventType(
        "Acknowledging an alarm was refused (role, unknown, seen before)", Category.OPERATION, _LOW, _MODE
    ),
    "POINTS_WRITTEN": EventType(
        "A client that is known by name began to write a station's feedback or heartbeat (told once an hour)",
        Category.OPERATION,
        _LOW,
        _MODE,
    ),
    "WRITE_REFUSED": EventType(
        "A client's write on the wire was refused", Category.ACCESS, _MEDIUM, _REFUSED
    ),
    "CLIENT_REFUSED": EventType(
        "An endpoint refused a client (policy, certificate, limits of the protocol)",
        Category.ACCESS,
        _MEDIUM,
        _REFUSED,
    ),
    # ---- limits
    "LIMITS_PROPOSED": EventType("A change of limits was proposed", Category.LIMITS, _MEDIUM, _LIMIT),
    "LIMITS_APPROVED": EventType("A second person approved limits", Category.LIMITS, _HIGH, _LIMIT),
    "LIMITS_REJECTED": EventType("A proposal was rejected", Category.LIMITS, _MEDIUM, _LIMIT),
    "LIMITS_WITHDRAWN": EventType("A proposal was withdrawn by its author", Category.LIMITS, _LOW, _LIMIT),
    "LIMITS_EXPIRED": EventType("A proposal expired unanswered", Category.LIMITS, _LOW, _LIMIT),
    "LIMITS_SUPERSEDED": EventType("A proposal lost its base to another", Category.LIMITS, _LOW, _LIMIT),
    "SAFETY_LIMITS_APPLIED": EventType(
        "A station's safety took up changed limits", Category.LIMITS, _MEDIUM, _LIMIT
    ),
    "PUMP_COMMISSIONED": EventType(
        "A pump's commissioning envelope was written", Category.LIMITS, _HIGH, _LIMIT
    ),
    # ---- changes
    "CALEJO_STARTED": EventType("A run of Calejo began", Category.CHANGE, _MEDIUM, _STARTED),
    "CALEJO_STOPPED": EventType("A run of Calejo ended in order", Category.CHANGE, _MEDIUM, _STARTED),
    "CALEJO_ENDED_UNNOTICED": EventType(
        "The run before ended without a word (killed, power cut)", Category.CHANGE, _HIGH, _STARTED
    ),
    "SETTINGS_CHANGED": EventType(
        "A run began with other settings than the one before", Category.CHANGE, _MEDIUM, _CHANGED
    ),
    "TOPOLOGY_CHANGED": EventType(
        "Sites, stations, pumps or their parameters changed in the database",
        Category.CHANGE,
        _MEDIUM,
        _CHANGED,
    ),
    "DISCOVERY_REQUESTED": EventType(
        "A person had the configuration read at once", Category.CHANGE, _LOW, _CHANGED
    ),
    "DATABASE_UPGRADED": EventType("The database's schema was upgraded", Category.CHANGE, _MEDIUM, _CHANGED),
    "CHILD_QUARANTINED": EventType(
        "A process was given up after too many restarts", Category.CHANGE, _HIGH, _FAILED
    ),
    "QUARANTINE_RETRIED": EventType(
        "A person had a process in quarantine tried again", Category.CHANGE, _MEDIUM, _STARTED
    ),
    # ---- the trail itself
    "AUDIT_KEY_MADE": EventType("The first signing key was made", Category.INTEGRITY, _MEDIUM, _KEY),
    "AUDIT_KEY_ROTATED": EventType(
        "The signing key was replaced, signed by the old one", Category.INTEGRITY, _HIGH, _KEY
    ),
    "AUDIT_CHAIN_BROKEN": EventType(
        "The trail does not continue its last checkpoint", Category.INTEGRITY, _CRITICAL, _TRAIL
    ),
    "AUDIT_EXPORTED": EventType("The trail was exported", Category.INTEGRITY, _MEDIUM, _TRAIL),
    "AUDIT_ARCHIVED": EventType(
        "Old records went into an archived segment", Category.INTEGRITY, _HIGH, _TRAIL
    ),
    "INCIDENT_EXPORTED": EventType(
        "All that is known of an incident was exported", Category.INTEGRITY, _MEDIUM, _TRAIL
    ),
    # ---- access: written by users, sessions and certificates
    "LOGIN": EventType(
        "A person or service logged in, or failed to", Category.ACCESS, _MEDIUM, _LOGIN, _USERS
    ),
    "ACCOUNT_LOCKED": EventType(
        "An account was locked for a time after failed log-ins", Category.ACCESS, _HIGH, _LOCKED, _USERS
    ),
    "ACCESS_REFUSED": EventType(
        "A token or session was refused (forged, expired, revoked, replayed)",
        Category.ACCESS,
        _MEDIUM,
        _LOGIN,
        _USERS,
    ),
    "ACCESS_DENIED": EventType("A role did not suffice", Category.ACCESS, _MEDIUM, _REFUSED, _USERS),
    "TOKEN_REFRESH": EventType(
        "An access token was renewed, or the renewal refused", Category.ACCESS, _LOW, _SESSION, _USERS
    ),
    "SESSION_ENDED": EventType(
        "A session was ended: by its owner, by too many others, by a refresh token that came twice",
        Category.ACCESS,
        _LOW,
        _SESSION,
        _USERS,
    ),
    "USER_SESSIONS_ENDED": EventType(
        "An administrator ended somebody's sessions", Category.ACCESS, _MEDIUM, _SESSION, _USERS
    ),
    "STOP_BY_EXPIRED_SESSION": EventType(
        "An emergency stop was set with an expired session (EST-4)",
        Category.EMERGENCY,
        _HIGH,
        _STOPPED,
        _USERS,
    ),
    "USER_ADDED": EventType("An account was made", Category.ACCESS, _HIGH, _ACCOUNT, _USERS),
    "USER_ROLE_SET": EventType("An account's role changed", Category.ACCESS, _HIGH, _ACCOUNT, _USERS),
    "USER_DISABLED": EventType("An account was disabled", Category.ACCESS, _HIGH, _ACCOUNT, _USERS),
    "USER_ENABLED": EventType("An account was enabled again", Category.ACCESS, _HIGH, _ACCOUNT, _USERS),
    "USER_PASSWORD_RESET": EventType(
        "An administrator reset somebody's password", Category.ACCESS, _HIGH, _SECRET, _USERS
    ),
    "PASSWORD_CHANGED": EventType("A password was changed", Category.ACCESS, _MEDIUM, _SECRET, _USERS),
    "SECOND_FACTOR_BEGUN": EventType(
        "Setting up a second factor was begun", Category.ACCESS, _LOW, _FACTOR, _USERS
    ),
    "SECOND_FACTOR_SET": EventType("A second factor was set", Category.ACCESS, _MEDIUM, _FACTOR, _USERS),
    "SECOND_FACTOR_REMOVED": EventType(
        "A second factor was removed", Category.ACCESS, _HIGH, _FACTOR, _USERS
    ),
    "SERVICE_KEY_ADDED": EventType(
        "A service account's key was made", Category.ACCESS, _HIGH, _SECRET, _USERS
    ),
    "SERVICE_KEY_REVOKED": EventType(
        "A service account's key was revoked", Category.ACCESS, _MEDIUM, _SECRET, _USERS
    ),
    "CERTIFICATE_REJECTED": EventType(
        "A client's certificate was refused", Category.ACCESS, _MEDIUM, _CERTIFICATE, _USERS
    ),
    "CERTIFICATE_REPLACED": EventType(
        "Calejo took up a new certificate", Category.ACCESS, _MEDIUM, _CERTIFICATE, _USERS
    ),
    "CERTIFICATE_MADE": EventType(
        "A command made certificates and keys", Category.ACCESS, _MEDIUM, _CERTIFICATE, _USERS
    ),
    "SIGNING_KEY_ROTATED": EventType(
        "Tokens are signed with a new key from now on", Category.ACCESS, _HIGH, _SECRET, _USERS
    ),
    "TRUST_CHANGED": EventType(
        "Which certificates OPC UA trusts was changed", Category.ACCESS, _MEDIUM, _CERTIFICATE, _USERS
    ),
    "REQUEST_REFUSED": EventType(
        "REST refused a request for its form: cross-site, foreign host, no HTTP, its body, filter or path",
        Category.ACCESS,
        _LOW,
        _FLOOD,
        _USERS,
    ),
    "RATE_LIMITED": EventType(
        "A client asked too often, watches too often, or held too many connections",
        Category.ACCESS,
        _MEDIUM,
        _FLOOD,
        _USERS,
    ),
}

RESERVED: Final[frozenset[str]] = frozenset()
"""Names that are kept free for what no part of Calejo writes yet."""

FAILED_LOGINS: Final = ("LOGIN", "ACCOUNT_LOCKED", "ACCESS_REFUSED", "TOKEN_REFRESH")
"""What the report of failed log-ins lists, as far as its outcome is not success."""

_COUNT_MIN: Final = 35
assert len(EVENT_TYPES) >= _COUNT_MIN, "AUD-2"


def clauses_of(event_type: str) -> str:
    """Return the clauses of an event type, one space-free word each; of one that is not in the table: none.

    A record of an unknown type is stored all the same: losing one is worse than a table that lags behind.
    """
    found = EVENT_TYPES.get(event_type)
    return "" if found is None else " ".join(_word(clause) for clause in found.clauses)


def _word(clause: str) -> str:
    if clause.startswith("CR "):
        return f"IEC62443-4-2:{clause.replace(' ', '')}"
    if clause.startswith("A."):
        return f"ISO27001:{clause}"
    return f"NIS2:{clause}"
