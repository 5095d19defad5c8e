"""Writes `ops/docs/permissions.md` from the permission table itself, so that the page cannot promise another one.

`python -m ops.access_document > ops/docs/permissions.md` makes it anew; a test compares.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from actors.vocabulary.access import PERMISSIONS, UserRole

_INTRODUCTION: Final = """\
# Permissions: which role may do what

Made from the code by `python -m ops.access_document`; a test holds the two together. One table for REST, OPC UA and
Modbus: what is not allowed here is refused there. `calejo users permissions` prints it.

- A user has one role. READ_ONLY is for those who watch and for auditors, FIELD for PLCs and pollers: it reads points
  and writes feedback, nothing else.
- A service account has one role too, and each of its keys may be narrowed to some of the operations.
- Limits need two persons: whoever proposed cannot approve, whatever the role.
- A token that has expired may still set an emergency stop, never clear one.
- Settings, certificates, trust lists and signing keys are files: REST shows the first two, nothing on a wire changes
  any. Who may write them is a matter of the machine's own file access; the commands that do are audited.
"""


def document() -> str:
    """Return the page."""
    return "\n".join(_lines()) + "\n"


def _lines() -> Iterator[str]:
    yield _INTRODUCTION
    yield f"| operation | {' | '.join(UserRole)} | what it is |"
    yield f"|---|{':-:|' * len(UserRole)}---|"
    for operation, row in PERMISSIONS.items():
        cells = " | ".join("yes" if role in row.roles else "–" for role in UserRole)
        yield f"| {operation.value} | {cells} | {row.meaning} |"


if __name__ == "__main__":
    print(document(), end="")
