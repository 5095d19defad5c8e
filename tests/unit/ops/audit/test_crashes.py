"""Goal: a record reaches the chain exactly once, wherever between queue and database a process is killed.

Method: real processes with the real queue on disk and the real writer, killed by SIGKILL at each step of one batch,
again and again, until everything is written; then the chain is walked.
"""

import asyncio
import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from actors.vocabulary.records import AuditRecord
from ops.audit_trail import opened
from storage.audit_reader import AuditBook
from storage.spool import SpoolFile
from tests.services import Postgres
from tests.unit.ops.audit.trail import PROCESS_S, ROOT, Trail
from tests.unit.storage.contract import audit_record, feedback

RECORDS = 60
STEPS = ("appended to the queue", "in the transaction", "committed", "half removed from the queue")

_CHILD = """
import asyncio, os, signal, sys
from pathlib import Path
from sqlalchemy import event
from actors.vocabulary.settings import DatabaseSettings
from storage.engine import Access, Database, real_chance
from storage.spool import SpoolFile
from storage.writer import DatabaseWriter
from tests.unit.storage.contract import audit_record

folder, url, first, count, step = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), sys.argv[5]

def die(at):
    if step == at:
        os.kill(os.getpid(), signal.SIGKILL)

async def main():
    spool = SpoolFile(folder, bytes_max=10**7, utc_second=lambda: 1)
    spool.append([audit_record(number) for number in range(first, first + count)])
    die("appended to the queue")
    database = Database(url, Access.WRITE, settings=DatabaseSettings(pool_size=1), chance=real_chance())
    if step == "in the transaction":
        event.listen(database._engine.sync_engine, "commit", lambda connection: die("in the transaction"))
    writer = DatabaseWriter(database)
    while batch := spool.peek(25):
        assert await writer.write(batch) == {}
        die("committed")
        positions = [position for position, _ in batch]
        spool.remove(positions[: len(positions) // 2])
        die("half removed from the queue")
        spool.remove(positions)
    await database.close()
    spool.close()

asyncio.run(main())
"""


def _run(queue: Path, url: str, *, first: int, count: int, step: str) -> int:
    done = subprocess.run(
        [sys.executable, "-c", _CHILD, str(queue), url, str(first), str(count), step],
        cwd=ROOT,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT)},
        timeout=PROCESS_S,
        capture_output=True,
        check=False,
    )
    assert done.returncode in {0, -signal.SIGKILL}, done.stderr.decode()
    return done.returncode


def killed_everywhere(trail: Trail, url: str) -> None:
    """Write 60 records with a process killed at every step, then walk the chain."""
    queue = trail.folder / "spool"
    share = RECORDS // len(STEPS)
    for number, step in enumerate(STEPS):
        assert _run(queue, url, first=number * share, count=share, step=step) == -signal.SIGKILL, step
    assert _run(queue, url, first=0, count=1, step="") == 0

    async def found() -> tuple[list[str], bool]:
        async with opened(trail.settings) as database:
            book = AuditBook(database)
            names = [row["record_id"] async for rows in book.pages() for row in rows]
            return names, (await book.verify()).holds

    names, holds = asyncio.run(found())
    assert sorted(names) == sorted(f"a{number}" for number in range(RECORDS))
    assert holds
    spool = SpoolFile(queue, bytes_max=10**7, utc_second=lambda: 1)
    assert spool.size()[0] == 0
    spool.close()


def test_exactly_once_on_sqlite(tmp_path: Path) -> None:
    """AUD-1, AUD-4: no gap and no duplicate, by the record's id."""
    trail = Trail(tmp_path / "trail")
    killed_everywhere(trail, f"sqlite+aiosqlite:///{trail.database}")


@pytest.mark.services
def test_exactly_once_on_postgresql(tmp_path: Path, postgres: Postgres) -> None:
    """AUD-1, AUD-4: the same on PostgreSQL."""
    url = postgres.fresh_database().replace("postgresql://", "postgresql+psycopg://")
    trail = Trail(tmp_path / "trail", url=url)
    killed_everywhere(trail, url)


PG_ATTACKS: dict[str, tuple[str, str]] = {
    "flip": ("UPDATE audit_log SET outcome = 'failed' WHERE sequence = 5", "BROKEN at 5: record 'a5'"),
    "delete": ("DELETE FROM audit_log WHERE sequence = 5", "BROKEN at 5: record 'a6'"),
    "truncation": ("DELETE FROM audit_log WHERE sequence > 5", "says 8 records, the trail ends at 5"),
    "all gone": ("TRUNCATE audit_log", "says 8 records, the trail ends at 0"),
    "rebuilt": (
        "UPDATE audit_log SET hash = repeat('a', 64) WHERE sequence = 8",
        "BROKEN at 8: record 'a8': its content",
    ),
}


@pytest.mark.services
@pytest.mark.parametrize("attack", PG_ATTACKS)
def test_a_superuser_s_attack_on_postgresql_is_found(tmp_path: Path, postgres: Postgres, attack: str) -> None:
    """AUD-1: whoever may disable triggers is found by `calejo audit verify`; whoever may not is refused."""
    statement, told = PG_ATTACKS[attack]
    url = postgres.fresh_database()
    trail = Trail(tmp_path / "trail", url=url.replace("postgresql://", "postgresql+psycopg://"))
    trail.write(8)
    assert trail.sign() == ""
    guarded = _as_superuser(url, statement)
    assert "append-only" in guarded
    assert trail.calejo("audit", "verify").returncode == 0
    assert _as_superuser(url, "ALTER TABLE audit_log DISABLE TRIGGER ALL", statement) == ""
    verified = trail.calejo("audit", "verify")
    assert verified.returncode == 1, verified.stderr
    assert told in verified.stdout


def _as_superuser(url: str, *statements: str) -> str:
    import psycopg

    try:
        with psycopg.connect(url) as connection:
            for statement in statements:
                connection.execute(statement.encode())
    except psycopg.Error as error:
        return str(error)
    return ""


@pytest.mark.services
def test_segments_on_postgresql_need_the_owner(tmp_path: Path, postgres: Postgres) -> None:
    """AUD-3: the owner archives; the login that serves the network may read segments, neither add nor delete."""
    url = postgres.fresh_database()
    trail = Trail(tmp_path / "trail", url=url.replace("postgresql://", "postgresql+psycopg://"))
    trail.write(6)
    assert trail.sign() == ""
    name = url.rsplit("/", 1)[1]
    login = f"{name}_writer"
    assert _as_superuser(url, f'CREATE ROLE "{login}" LOGIN IN ROLE control_writer') == ""
    archive = ("audit", "archive", "--to", str(trail.folder), "--days", "1", "--delete", "--format", "json")
    own = trail.url
    trail.url = postgres.url(name, user=login).replace("postgresql://", "postgresql+psycopg://")
    refused = trail.calejo(*archive)
    assert (refused.returncode, "permission denied" in refused.stderr) == (1, True), refused.stderr
    (trail.folder / "audit-000000000001-000000000005.tar.gz").unlink()
    trail.url = own
    done = trail.calejo(*archive)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["last"] == 5
    assert json.loads(trail.calejo("audit", "verify", "--format", "json").stdout)["archived"] == 5
    assert "append-only" in _as_superuser(url, "DELETE FROM audit_log WHERE sequence = 6")
    for statement in ("DELETE FROM", "TRUNCATE"):
        assert "append-only" in _as_superuser(url, f"{statement} audit_segments")


def test_two_writers_are_fenced_by_the_database(tmp_path: Path) -> None:
    """AUD-1: two processes that both believe to be the writer leave one chain with every record once."""
    trail = Trail(tmp_path / "trail")
    url = f"sqlite+aiosqlite:///{trail.database}"
    both = [
        subprocess.Popen(
            [
                sys.executable,
                "-c",
                _CHILD,
                str(trail.folder / f"spool{lane}"),
                url,
                str(100 * lane),
                "80",
                "",
            ],
            cwd=ROOT,
            env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT)},
        )
        for lane in range(2)
    ]
    for process in both:
        assert process.wait(PROCESS_S) == 0

    async def verified() -> tuple[int, bool]:
        async with opened(trail.settings) as database:
            found = await AuditBook(database).verify()
            return found.chain.count, found.holds

    assert asyncio.run(verified()) == (160, True)


def test_a_queue_without_room_keeps_audit_records_and_drops_others(tmp_path: Path) -> None:
    """AUD-4: whatever else has to go, an audit record stays in the queue, an odd author's too."""
    spool = SpoolFile(tmp_path, bytes_max=4_000, utc_second=lambda: 1)
    try:
        spool.append([audit_record(1, actor="é\0\ud800".encode("utf-8", "replace").decode())])
        spool.append([feedback(number) for number in range(60)])
        waiting = [record for _, record in spool.peek(100)]
        assert spool.dropped_total() > 0
        assert [type(record) for record in waiting].count(AuditRecord) == 1
    finally:
        spool.close()
