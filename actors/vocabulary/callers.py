"""Who is behind a request on a wire, once that is known: a name for the audit trail, and what it may (SEC-2)."""

from __future__ import annotations

from enum import StrEnum, unique

import msgspec

from actors.vocabulary.access import Operation, UserRole, may
from actors.vocabulary.errors import InvalidValueError


@unique
class Shown(StrEnum):
    """What a caller has shown of itself."""

    NOTHING = "NOTHING"
    PASSWORD = "PASSWORD"  # noqa: S105  (the word, not one)
    KEY = "KEY"
    CERTIFICATE = "CERTIFICATE"


class Caller(msgspec.Struct, frozen=True, kw_only=True):
    """Who asks on a wire. `name` is written into `by`: a user's id, `certificate:NAME` or `anonymous`.

    Users and certificates have one role; whoever shows nothing may have been given several. `operations` narrows them
    (the scope of a service account's key), None: all that the roles may. `key_id` names that key, '' for all others.
    """

    name: str
    roles: frozenset[UserRole]
    how: Shown
    proof: str = ""
    operations: frozenset[Operation] | None = None

    def may(self, operation: Operation) -> bool:
        """Say whether this caller is allowed an operation, by the one table of permissions."""
        if self.operations is not None and operation not in self.operations:
            return False
        return any(may(role, operation) for role in self.roles)


def roles_named(text: str) -> frozenset[UserRole]:
    """Return the roles of a list with commas between; none in an empty one.

    Raises:
        InvalidValueError: a name in it is no role's.

    """
    names = [part.strip().upper() for part in text.split(",") if part.strip()]
    wrong = [name for name in names if name not in set(UserRole)]
    if wrong:
        raise InvalidValueError(f"role: {wrong[0][:40]!r}, expected {', '.join(UserRole)}")
    return frozenset(UserRole(name) for name in names)
