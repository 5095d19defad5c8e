"""`calejo users`: accounts, sessions and keys, by REST while Calejo runs, else on the database itself (SEC-1)."""

from __future__ import annotations

import argparse
import asyncio
import getpass
import os
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

import msgspec

from actors.vocabulary import CalejoError, InvalidValueError, RefusedError, UnknownSubjectError
from actors.vocabulary.access import PERMISSIONS, UserRole
from ops.cli.client import ask
from ops.cli.exits import DONE, FAILED, REFUSED, USAGE, ExitError
from ops.cli.output import show
from ops.cli.settings_of import data_dir_of, settings_of
from ops.rundir import find_run

if TYPE_CHECKING:
    from actors.vocabulary.users import Principal
    from api.access.accounts import Accounts

_TIMEOUT_S: Final = 15.0
_NEW_PASSWORD: Final = "CALEJO_NEW_PASSWORD"  # noqa: S105  (the variable's name)
_ACCOUNT: Final = (
    "user", "kind", "role", "enabled", "second_factor", "must_change_password", "created_at", "created_by",
)  # fmt: skip
_SESSION: Final = ("session_id", "user", "started_at", "seen_at", "expires_at", "source_address", "client")
_KEY: Final = ("key_id", "user", "label", "operations", "created_at", "expires_at", "revoked_at")
_PEER: Final = "command line"

_Offline = Callable[["Accounts", "Principal"], Awaitable[Any]]


def permissions(arguments: argparse.Namespace) -> int:
    """Print the permission table; needs no running Calejo."""
    rows = [
        {
            "operation": operation.value,
            **{role.value: role in row.roles for role in UserRole},
            "meaning": row.meaning,
        }
        for operation, row in PERMISSIONS.items()
    ]
    show(rows, ("operation", *UserRole, "meaning"), form=arguments.format)
    return DONE


def listing(arguments: argparse.Namespace) -> int:
    """Print every account.

    Raises:
        ExitError: as `_done`. So everywhere below.

    """

    async def work(accounts: Accounts, _: Principal) -> Any:
        from api.access.views import account_view

        return [account_view(each) for each in await accounts.listed()]

    show(_done(arguments, "GET", "/api/v1/users", None, work), _ACCOUNT, form=arguments.format)
    return DONE


def add(arguments: argparse.Namespace) -> int:
    """Add an account and print its generated password once."""
    kind = "SERVICE" if arguments.service else "PERSON"
    body = {"user": arguments.name, "role": arguments.role, "kind": kind}

    async def work(accounts: Accounts, by: Principal) -> Any:
        from actors.vocabulary.users import AccountKind

        made = await accounts.add(
            arguments.name, UserRole(arguments.role), AccountKind(kind), by=by, peer=_PEER
        )
        return _new(*made)

    return _with_password(arguments, _done(arguments, "POST", "/api/v1/users", body, work))


def disable(arguments: argparse.Namespace) -> int:
    """Disable an account."""
    return _enabled(arguments, "disable", enabled=False)


def enable(arguments: argparse.Namespace) -> int:
    """Enable an account."""
    return _enabled(arguments, "enable", enabled=True)


def reset(arguments: argparse.Namespace) -> int:
    """Give an account a new password and print it once."""

    async def work(accounts: Accounts, by: Principal) -> Any:
        return _new(*await accounts.reset(arguments.name, by=by, peer=_PEER))

    return _with_password(arguments, _done(arguments, "POST", f"{_of(arguments.name)}/reset", {}, work))


def set_role(arguments: argparse.Namespace) -> int:
    """Give an account another role."""

    async def work(accounts: Accounts, by: Principal) -> Any:
        from api.access.views import account_view

        role = UserRole(arguments.role)
        return account_view(await accounts.set_role(arguments.name, role, by=by, peer=_PEER))

    body = {"role": arguments.role}
    show(_done(arguments, "POST", f"{_of(arguments.name)}/role", body, work), _ACCOUNT, form=arguments.format)
    return DONE


def sessions(arguments: argparse.Namespace) -> int:
    """Print who is logged in, or end somebody's sessions."""
    if arguments.end and arguments.name is None:
        raise ExitError(USAGE, "--end needs a NAME")

    async def end(accounts: Accounts, by: Principal) -> Any:
        return {"ended": await accounts.end_sessions(arguments.name, by=by, peer=_PEER)}

    async def look(accounts: Accounts, _: Principal) -> Any:
        from api.access.views import session_view

        return [session_view(each, own="") for each in await accounts.sessions(arguments.name)]

    if arguments.end:
        found = _done(arguments, "POST", f"{_of(arguments.name)}/sessions/end", {}, end)
        show(found, ("ended",), form=arguments.format)
        return DONE
    path = "/api/v1/sessions" if arguments.name is None else f"{_of(arguments.name)}/sessions"
    show(_done(arguments, "GET", path, None, look), _SESSION, form=arguments.format)
    return DONE


def password(arguments: argparse.Namespace) -> int:
    """Change the password of `--user`.

    Raises:
        ExitError: (2) nobody is named, or there is no new password to be had; else as `_done`.

    """
    from ops.cli.identity import password_of

    if arguments.user is None:
        raise ExitError(USAGE, "--user NAME: whose password?")
    current = password_of(arguments.user)
    os.environ["CALEJO_PASSWORD"] = current  # asked once: the login below is by it too
    new = os.environ.get(_NEW_PASSWORD) or _new_password(arguments.user)
    body = {"current": current, "new": new}
    ask(data_dir_of(arguments), "POST", "/api/v1/account/password", body=body, timeout_s=_TIMEOUT_S)
    print(f"the password of {arguments.user} is changed; other sessions have ended")
    return DONE


def keys(arguments: argparse.Namespace) -> int:
    """Print, make or revoke keys of a service account; needs the running Calejo."""
    data_dir = data_dir_of(arguments)
    if arguments.revoke is not None:
        path = f"/api/v1/service-keys/{quote(arguments.revoke, safe='')}/revoke"
        show(ask(data_dir, "POST", path, body={}, timeout_s=_TIMEOUT_S), _KEY, form=arguments.format)
        return DONE
    path = f"{_of(arguments.name)}/keys"
    if not arguments.add:
        show(ask(data_dir, "GET", path, timeout_s=_TIMEOUT_S), _KEY, form=arguments.format)
        return DONE
    body = {"label": arguments.label, "operations": arguments.only, "days": arguments.days}
    made = ask(data_dir, "POST", path, body=body, timeout_s=_TIMEOUT_S)
    if arguments.format == "json":
        show(made, (), form="json")
    else:
        show(made["key"], _KEY, form="table")
        print(f"\nkey, shown this once: {made['secret']}")
    return DONE


def rotate(arguments: argparse.Namespace) -> int:
    """Sign tokens with a new key from now on; a running Calejo takes it up within seconds.

    Raises:
        ExitError: (2) the keys are configured elsewhere; (1) the file cannot be read or written.

    """
    from datetime import UTC, datetime

    from actors.vocabulary.users import LOCAL_PREFIX
    from ops.audit_trail import record_of
    from ops.cli.identity import login_name
    from ops.untold import tell
    from storage.keyring import KeyFile

    settings = settings_of(arguments)
    ring = KeyFile(Path(settings.data_dir), configured=settings.access.signing_keys)
    try:
        key_id = ring.rotate(
            now=datetime.now(UTC),  # noqa: TID251  (a shell of the command line: it has no other clock)
            verify_for_s=0.0 if arguments.at_once else settings.access.session_s,
        )
    except InvalidValueError as error:
        raise ExitError(USAGE, str(error)) from error
    except CalejoError as error:
        raise ExitError(FAILED, str(error)) from error
    record = record_of(
        "SIGNING_KEY_ROTATED",
        by=f"{LOCAL_PREFIX}{login_name()}",
        object_id=f"SIGNING_KEY:{key_id}",
        after={"at_once": arguments.at_once},
    )
    if said := tell(settings, record):
        print(f"calejo: {said}", file=sys.stderr)
    show({"key_id": key_id}, ("key_id",), form=arguments.format)
    return DONE


def _enabled(arguments: argparse.Namespace, verb: str, *, enabled: bool) -> int:
    async def work(accounts: Accounts, by: Principal) -> Any:
        from api.access.views import account_view

        return account_view(await accounts.set_enabled(arguments.name, enabled=enabled, by=by, peer=_PEER))

    found = _done(arguments, "POST", f"{_of(arguments.name)}/{verb}", {}, work)
    show(found, _ACCOUNT, form=arguments.format)
    return DONE


def _done(arguments: argparse.Namespace, method: str, path: str, body: Any, work: _Offline) -> Any:
    """Ask the running Calejo, or do `work` on the database of one that does not run.

    Raises:
        ExitError: (4) refused or not known, (2) not understood, (1) database or API are away.

    """
    data_dir = data_dir_of(arguments)
    if find_run(data_dir) is not None:
        return ask(data_dir, method, path, body=body, timeout_s=_TIMEOUT_S)
    if arguments.user is not None:
        raise ExitError(USAGE, f"--user: Calejo is not running in {data_dir}, nobody can log in")
    from ops.database import require_current
    from ops.users import offline

    settings = settings_of(arguments)
    try:
        require_current(settings)
        return msgspec.to_builtins(asyncio.run(offline(settings, work)))
    except CalejoError as error:
        code = REFUSED if isinstance(error, RefusedError | UnknownSubjectError) else FAILED
        raise ExitError(USAGE if isinstance(error, InvalidValueError) else code, str(error)) from error


def _new(account: Any, generated: str) -> Any:
    from api.access.views import NewPasswordView, account_view

    return NewPasswordView(account=account_view(account), password=generated)


def _with_password(arguments: argparse.Namespace, made: Any) -> int:
    if arguments.format == "json":
        show(made, (), form="json")
        return DONE
    show(made["account"], _ACCOUNT, form="table")
    if made["password"]:
        print(f"\npassword, shown this once: {made['password']}  (to be changed at the first login)")
    return DONE


def _new_password(user: str) -> str:
    if not sys.stdin.isatty():
        raise ExitError(USAGE, f"no new password for {user}: no terminal to ask on, and no {_NEW_PASSWORD}")
    new = getpass.getpass(f"new password of {user} (12 to 128 characters): ")
    if getpass.getpass("again: ") != new:
        raise ExitError(USAGE, "the two are not the same: nothing was changed")
    return new


def _of(name: str) -> str:
    return f"/api/v1/users/{quote(name, safe='')}"
