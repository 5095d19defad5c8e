"""Which passwords are taken: long enough, and not one that people are known to use; nothing else is asked (SEC-1).

Lengths: OWASP ASVS 5.0, 6.2.1 and 6.2.9; no composition rules: 6.2.5; common passwords: 6.2.4, 6.2.12; words of the
context: 6.2.11.
"""

from __future__ import annotations

import re
from typing import Final

from actors.vocabulary import InvalidValueError

LENGTH_MIN: Final = 12
LENGTH_MAX: Final = 128
CONTEXT: Final = (
    "calejo",
    "pump",
    "pumps",
    "station",
    "wastewater",
    "scada",
    "setpoint",
    "operator",
    "engineer",
)
"""Words that the first guesses against this program will hold."""


def check_form(password: str) -> None:
    """Return if a new password has the form of one; whether it is guessed is judged elsewhere, with `words_around`.

    Raises:
        InvalidValueError: it is too short or too long, or no text. The text never holds the password.

    """
    if not LENGTH_MIN <= len(password) <= LENGTH_MAX:
        raise InvalidValueError(
            f"password: {len(password)} characters, expected {LENGTH_MIN} to {LENGTH_MAX} of any kind"
        )
    if not _is_text(password):
        raise InvalidValueError("password: holds what is no text, expected characters of Unicode without NUL")


def words_around(user_id: str) -> tuple[str, ...]:
    """Return what somebody who knows the user and this program would try first."""
    return (user_id, *re.split(r"[._-]+", user_id), *CONTEXT)


def _is_text(password: str) -> bool:
    try:
        password.encode()
    except UnicodeEncodeError:
        return False
    return "\0" not in password
