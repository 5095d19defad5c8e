"""As whom a command speaks: `--user NAME` logs in once and out again; else the machine's own user."""

from __future__ import annotations

import getpass
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from ops.cli.exits import USAGE, ExitError

PASSWORD: Final = "CALEJO_PASSWORD"  # noqa: S105  (the variable's name)
PASSWORD_FILE: Final = "CALEJO_PASSWORD_FILE"  # noqa: S105  (as above)

Ask = Callable[[str, dict[str, str]], Any]


@dataclass
class _Identity:
    user: str = ""
    code: str = ""
    token: str = ""


_IDENTITY: Final = _Identity()


def speak_as(user: str | None, code: str | None) -> None:
    """Be this user from now on; None: nobody in particular."""
    _IDENTITY.user, _IDENTITY.code, _IDENTITY.token = user or "", code or "", ""


def never_ask() -> None:
    """Speak as nobody in particular rather than wait for somebody to type a password: for an emergency stop."""
    if not (os.environ.get(PASSWORD) or os.environ.get(PASSWORD_FILE)):
        speak_as(None, None)


def login_name() -> str:
    """Return the name of the machine's user who typed the command."""
    return os.environ.get("SUDO_USER") or os.environ.get("USER") or "operator"


def bearer(ask: Ask) -> str:
    """Return the access token of `--user`, logging in with the first call; '' without `--user`.

    Raises:
        ExitError: (2) there is no password to be had; (4) the login was refused.

    """
    if not _IDENTITY.user:
        return ""
    if not _IDENTITY.token:
        body = {"user": _IDENTITY.user, "password": password_of(_IDENTITY.user), "code": _IDENTITY.code}
        _IDENTITY.token = str(ask("/api/v1/auth/login", body)["access_token"])
    return _IDENTITY.token


def token_in_use() -> str:
    """Return the token that a login of this command got, '' if there was none: it is ended with the command."""
    return _IDENTITY.token


def password_of(user: str) -> str:
    """Return a password from the environment, a file that it names, or the terminal; never from an option.

    Raises:
        ExitError: (2) there is none.

    """
    if given := os.environ.get(PASSWORD):
        return given
    if file := os.environ.get(PASSWORD_FILE):
        try:
            return Path(file).read_text("utf-8").rstrip("\r\n")
        except OSError as error:
            raise ExitError(USAGE, f"{PASSWORD_FILE}: {file}: {error.strerror}") from error
    if not sys.stdin.isatty():
        raise ExitError(
            USAGE, f"no password for {user}: no terminal to ask on, and no {PASSWORD} or {PASSWORD_FILE}"
        )
    return getpass.getpass(f"password of {user}: ")
