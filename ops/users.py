"""Users while Calejo does not run: the same desk and the same law, straight on the database; and the first start."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import Final, NamedTuple, TypeVar

from actors.vocabulary import Settings
from actors.vocabulary.access import UserRole
from actors.vocabulary.records import Record
from actors.vocabulary.users import LOCAL_PREFIX, AccountKind, Principal
from api.access.accounts import Accounts
from api.access.desk import AccessDesk
from api.access.failures import Failures
from api.access.logins import Logins
from api.access.security_log import SecurityLog
from ops.cli.identity import login_name
from ops.database import database_urls
from storage.engine import Access, Database, real_chance
from storage.files import write_whole
from storage.keyring import KeyFile
from storage.local_credential import FOLDER, LocalCredential
from storage.users import DatabaseUsers
from storage.writer import DatabaseWriter
from supervisors.process import SystemClock

FIRST_ADMINISTRATOR: Final = "admin"
FIRST_PASSWORD_FILE: Final = "first-password"  # noqa: S105  (a file's name)
PEER: Final = "command line"

T = TypeVar("T")
Work = Callable[[Accounts, Principal], Awaitable[T]]


class First(NamedTuple):
    """The first administrator, and the password that was generated for them ('' if there were users already)."""

    user: str
    password: str


async def offline(settings: Settings, work: Work[T]) -> T:
    """Do `work` on the database itself, audited; Calejo need not run.

    Raises:
        CalejoError: as `work`, or the database is away.

    """
    clock = SystemClock()
    records: list[Record] = []

    def keep(given: Iterable[Record]) -> None:
        records.extend(given)

    url, chance = database_urls(settings).writer, real_chance()
    reader = Database(url, Access.READ, settings=settings.database, chance=chance)
    writer = Database(url, Access.WRITE, settings=settings.database, chance=chance)
    desk = AccessDesk(
        DatabaseUsers(reader, writer),
        data_dir=Path(settings.data_dir),
        settings=settings.access,
        log=SecurityLog(keep, clock),
        clock=clock,
    )
    by = Principal(user_id=f"{LOCAL_PREFIX}{login_name()}", role=UserRole.ADMINISTRATOR, is_local=True)
    try:
        return await work(Accounts(desk, Logins(desk, Failures(None, clock=desk.clock))), by)
    finally:
        desk.stop()
        if records:
            await DatabaseWriter(writer).write(list(enumerate(records)))
        await writer.close()
        await reader.close()


def prepare_files(settings: Settings) -> None:
    """Make the signing keys if there are none, and this run's local credential.

    Raises:
        DeviceError: the disk refused.

    """
    folder = Path(settings.data_dir)
    KeyFile(folder, configured=settings.access.signing_keys).ensure(now=SystemClock().now().utc)
    LocalCredential(folder).renew()


async def first_administrator(settings: Settings) -> First:
    """Make the first administrator if there are no users yet.

    Raises:
        DeviceError: the database is away.

    """
    folder = Path(settings.data_dir)

    async def first(accounts: Accounts, by: Principal) -> First:
        held = await accounts.listed()
        if held:
            if not any(each.must_change for each in held):
                (folder / FOLDER / FIRST_PASSWORD_FILE).unlink(missing_ok=True)  # good for nothing any more
            return First(held[0].user_id, "")
        _, password = await accounts.add(
            FIRST_ADMINISTRATOR, UserRole.ADMINISTRATOR, AccountKind.PERSON, by=by, peer=PEER
        )
        return First(FIRST_ADMINISTRATOR, password)

    return await offline(settings, first)


def told(settings: Settings, first: First, *, on_terminal: bool) -> str:
    """Return the line that tells of the first administrator, '' if there is nothing to tell.

    Shown once: on a terminal, else, because output that is kept is a log, in a file for its owner only.

    Raises:
        DeviceError: the disk refused.

    """
    if not first.password:
        return ""
    who = f"first administrator: user {first.user}"
    if on_terminal:
        return f"{who}, password {first.password} (shown this once; you change it at the first login)"
    path = Path(settings.data_dir) / FOLDER / FIRST_PASSWORD_FILE
    write_whole(path, f"{first.password}\n".encode())
    return f"{who}, password in {path} (delete it; you change it at the first login)"
