"""`calejo certs`: certificates for development, when which expires, and whom OPC UA trusts (SEC-4, OPC-4)."""

from __future__ import annotations

import argparse
import sys
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

from actors.vocabulary import CalejoError, InvalidValueError, RefusedError, Settings
from actors.vocabulary.access import UserRole
from ops.cli.exits import DONE, FAILED, REFUSED, USAGE, ExitError
from ops.cli.output import show as show_rows
from ops.cli.settings_of import data_dir_of, settings_of

if TYPE_CHECKING:
    from storage.opcua_pki import PkiFolder

_TRUST_COLUMNS: Final = ("list", "name", "role", "sha256", "not_after", "subject", "file")
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
    _audit(arguments, "CERTIFICATE_MADE", "CERTIFICATE:all", {"files": [str(path) for path in made]})
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
    _audit(arguments, "CERTIFICATE_MADE", f"CERTIFICATE:{server}", {"files": [str(path) for path in made]})
    return DONE


def client(arguments: argparse.Namespace) -> int:
    """Make a client's key and certificate that carries a role.

    Raises:
        ExitError: (4) there is one of that name; (2) this is no name; (1) no authority here, or the disk refused.

    """
    from ops import certificates

    role, folder = UserRole(arguments.role), _folder(arguments)
    with _Told():
        made = certificates.client(folder, arguments.name, role, now=_now())
        pki = _pki(arguments)
        _, der = pki.found(str(made[0]))
        pinned = [pki.add_application(arguments.name, der), pki.add_user(arguments.name, role, der)]
    _tell(made)
    _tell(pinned)
    after = {"files": [str(path) for path in made], "role": role.value, "sha256": sha256(der).hexdigest()}
    _audit(arguments, "CERTIFICATE_MADE", f"CERTIFICATE:client-{arguments.name}", after)
    _audit(arguments, "TRUST_CHANGED", f"CERTIFICATE:{arguments.name}", {**after, "trusted": True})
    print("OPC UA trusts it now: as a program, and as a user with this role.")
    return DONE


def listing(arguments: argparse.Namespace) -> int:
    """Print whom OPC UA trusts, and whom it has turned away.

    Raises:
        ExitError: (1) the folder cannot be read.

    """
    with _Told():
        show_rows(list(_pki(arguments).listed()), _TRUST_COLUMNS, form=arguments.format)
    return DONE


def trust(arguments: argparse.Namespace) -> int:
    """Trust a certificate: a program's, or with a role a user's.

    Raises:
        ExitError: (4) the name is another's; (2) this is no name; (1) there is none, or the disk refused.

    """
    pki = _pki(arguments)
    with _Told():
        name, der = pki.found(arguments.certificate)
        name = arguments.name or name
        made = (
            pki.add_user(name, UserRole(arguments.role), der)
            if arguments.role
            else pki.add_application(name, der)
        )
        pki.forget_rejected(der)
    _tell([made])
    after = {"sha256": sha256(der).hexdigest(), "role": arguments.role or "", "trusted": True}
    _audit(arguments, "TRUST_CHANGED", f"CERTIFICATE:{name}", after)
    return DONE


def reject(arguments: argparse.Namespace) -> int:
    """Trust a certificate no longer, neither as a program's nor as a user's; its sessions end within seconds.

    Raises:
        ExitError: (1) there is none, or the disk refused.

    """
    pki = _pki(arguments)
    with _Told():
        name, der = pki.found(arguments.certificate)
        gone = pki.distrust(der)
        pki.keep_rejected(der, "by `calejo certs reject`")
    for path in gone:
        print(f"removed {path}")
    after = {"sha256": sha256(der).hexdigest(), "trusted": False, "removed": [str(path) for path in gone]}
    _audit(arguments, "TRUST_CHANGED", f"CERTIFICATE:{name}", after)
    return DONE


def show(arguments: argparse.Namespace) -> int:
    """Print every certificate, the first to expire on top.

    Raises:
        ExitError: (1) one cannot be read (after those that can), one has expired, or there are none.

    """
    from storage.certificates import configured, judged, shown

    folder = _folder(arguments)
    with _Told():
        settings = settings_of(arguments)
        elsewhere = [Path(each) for each in configured(settings) if each]
        views, broken = shown(folder, now=_now(), also=elsewhere)
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


def _pki(arguments: argparse.Namespace) -> PkiFolder:
    from storage.certificates import CertificateFiles
    from storage.opcua_pki import PkiFolder, folder_of, self_made_files

    data_dir = data_dir_of(arguments)

    def own() -> CertificateFiles:
        return self_made_files(data_dir)

    return PkiFolder(folder_of(data_dir), own)


def _folder(arguments: argparse.Namespace) -> Path:
    from storage.certificates import FOLDER

    return data_dir_of(arguments) / FOLDER


def _audit(arguments: argparse.Namespace, event_type: str, subject: str, after: dict[str, Any]) -> None:
    """Tell the audit trail what was done; that it could not be told is said, and undoes nothing."""
    from actors.vocabulary.users import LOCAL_PREFIX
    from ops.audit_trail import record_of
    from ops.cli.identity import login_name
    from ops.untold import tell

    record = record_of(event_type, by=f"{LOCAL_PREFIX}{login_name()}", object_id=subject, after=after)
    if said := tell(_settings(arguments), record):
        print(f"calejo: {said}", file=sys.stderr)


def _settings(arguments: argparse.Namespace) -> Settings:
    try:
        return settings_of(arguments)
    except ExitError:
        # Certificates need none of them: the record waits in the data directory for a run that has some.
        return Settings(data_dir=str(data_dir_of(arguments)))


def _tell(made: list[Path]) -> None:
    for path in made:
        print(path)


def _now() -> datetime:
    return datetime.now(UTC)  # noqa: TID251  (a shell of the command line: it has no other clock)
