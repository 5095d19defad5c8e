"""What a row of a mapping is, and the code and tests that several rows share (SEC-6)."""

from __future__ import annotations

from typing import Final, NamedTuple


class Control(NamedTuple):
    """One clause: what Calejo has for it, in which code, held by which tests.

    Without code `how` begins with "Not": not by Calejo, or not at all, or nothing is asked of a component.
    """

    clause: str
    about: str
    how: str
    code: tuple[str, ...] = ()
    tests: tuple[str, ...] = ()


AUDIT_CODE: Final = ("storage/audit.py", "actors/vocabulary/audit_events.py")
AUDIT_TESTS: Final = ("tests/unit/storage/test_audit.py", "tests/unit/actors/test_audit_events.py")
ATTACKS: Final = ("tests/unit/ops/audit/test_attacks.py", "tests/unit/ops/audit/test_crashes.py")
LIMITS_CODE: Final = ("actors/limits/proposals.py", "storage/limits.py")
LIMITS_TESTS: Final = ("tests/unit/actors/limits/test_proposals.py", "tests/unit/api/test_limits.py")
ACCESS_TESTS: Final = ("tests/unit/api/access/test_attacks.py", "tests/unit/api/access/test_login.py")
TABLE: Final = ("actors/vocabulary/access.py", "api/access/guarding.py")
TABLE_TESTS: Final = ("tests/unit/actors/vocabulary/test_access.py", "tests/unit/api/access/test_attacks.py")
ACCOUNTS: Final = ("api/access/accounts.py", "storage/users.py")
ACCOUNTS_TESTS: Final = ("tests/unit/api/access/test_login.py", "tests/unit/storage/test_users.py")
SESSIONS: Final = ("actors/access/sessions.py", "api/access/logins.py", "api/access/desk.py")
PASSWORDS: Final = ("api/access/hashing.py", "actors/access/passwords.py")
ORGANISATION: Final = "Not by Calejo: the operator's organisation"
