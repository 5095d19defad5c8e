"""`calejo certs init|show|renew|client`: certificates for development, and when which expires (SEC-4)."""

from __future__ import annotations

import argparse
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import msgspec

from actors.vocabulary import CalejoError, InvalidValueError, RefusedError
from actors.vocabulary.access import UserRole
from ops.cli.exits import DONE, FAILED, REFUSED, USAGE, ExitError
from ops.cli.output import show as show_rows
from ops.cli.settings_of import data_dir_of, settings_of

_COLUMNS: Final = ("name", "subject", "not_after", "days_left", "state", "key_file_mode", "file")


def init(arguments: argparse.Namespace) -> int:
    """Make an authority and the servers' certificates; never over others.

    Raises:
        ExitError: (4) there are some already; (2) a host is none; (1) the disk refused.

    """
    from ops import certificates

    with _Told():
        made = certificates.init(_folder(arguments), hosts=arguments.host, now=_now())
    _tell(made)
    print("For development: the authority's key lies beside them. Clients trust ca.pem.")
    return DONE


def renew(arguments: argparse.Namespace) -> int:
    """Replace one server's key and certificate; what runs takes them up within seconds.

    Raises:
        ExitError: (2) a host is none; (1) there is no authority here, or the disk refused.

    """
    from ops import certificates
    from storage.certificates import Server

    with _Told():
        server = Server(arguments.server)
        made = certificates.renew(_folder(arguments), server, hosts=arguments.host, now=_now())
    _tell(made)
    return DONE


def client(arguments: argparse.Namespace) -> int:
    """Make a client's key and certificate that carries a role.

    Raises:
        ExitError: (4) there is one of that name; (2) this is no name; (1) no authority here, or the disk refused.

    """
    from ops import certificates

    with _Told():
        made = certificates.client(_folder(arguments), arguments.name, UserRole(arguments.role), now=_now())
    _tell(made)
    return DONE


def show(arguments: argparse.Namespace) -> int:
    """Print every certificate, the first to expire on top.

    Raises:
        ExitError: (1) one cannot be read (after those that can), one has expired, or there are none.

    """
    from storage.certificates import judged, shown

    folder = _folder(arguments)
    with _Told():
        configured = settings_of(arguments).api.certificate
        views, broken = shown(folder, now=_now(), also=Path(configured) if configured else None)
    rows = []
    for each in views:
        verdict = judged(each)
        row = msgspec.to_builtins(each)
        rows.append({**row, "state": "good" if verdict is None else verdict[0].value})
    if rows or arguments.format == "json":
        show_rows(rows, _COLUMNS, form=arguments.format)
    if not views and not broken:
        raise ExitError(FAILED, f"{folder}: no certificates (`calejo certs init` makes some for development)")
    problems = [*broken.values()]
    problems += [
        verdict[1] for each in views if each.days_left <= 0 and (verdict := judged(each)) is not None
    ]
    if problems:
        raise ExitError(FAILED, "; ".join(problems))
    return DONE


class _Told:
    """Turns our errors into one line and an exit code."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, _kind: object, error: BaseException | None, _traceback: object) -> None:
        if isinstance(error, CalejoError):
            code = REFUSED if isinstance(error, RefusedError) else FAILED
            raise ExitError(USAGE if isinstance(error, InvalidValueError) else code, str(error)) from error


def _folder(arguments: argparse.Namespace) -> Path:
    from storage.certificates import FOLDER

    return data_dir_of(arguments) / FOLDER


def _tell(made: list[Path]) -> None:
    for path in made:
        print(path)


def _now() -> datetime:
    return datetime.now(UTC)  # noqa: TID251  (a shell of the command line: it has no other clock)
