"""A trail in a data directory, as a running Calejo leaves it, and processes that judge it."""

import asyncio
import json
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

from actors.vocabulary import Settings
from actors.vocabulary.audit_trail import Why
from actors.vocabulary.records import AuditRecord
from actors.vocabulary.settings import AuditSettings, DatabaseSettings
from ops.audit_trail import append, notary_of, opened
from ops.database import upgrade
from storage.audit_reader import AuditBook
from tests.migrated import sqlite_at
from tests.unit.storage.contract import NOON, audit_record

ROOT = Path(__file__).parents[4]
VERIFIER = ROOT / "ops" / "verify_audit.py"
PROCESS_S = 90.0


class Trail:
    """A data directory with a database (SQLite, or the URL given), a signing key and a share kept elsewhere."""

    def __init__(self, folder: Path, *, url: str = "") -> None:
        self.folder = folder
        self.elsewhere = folder / "elsewhere"
        self.elsewhere.mkdir(parents=True)
        self.data = folder / "data"
        self.data.mkdir()
        self.settings = Settings(
            data_dir=str(self.data),
            database=DatabaseSettings(url=url, pool_size=1),
            audit=AuditSettings(checkpoint_dir=str(self.elsewhere), checkpoint_records=10),
        )
        self.url = url
        if url:
            upgrade(self.settings)
        else:
            sqlite_at(self.database)
        self._number = 0

    @property
    def database(self) -> Path:
        """The SQLite file."""
        return self.data / "calejo.db"

    @property
    def kept(self) -> list[str]:
        """Arguments for a verifier that has the checkpoints and keys kept elsewhere."""
        where = self.elsewhere
        return ["--checkpoint", str(where / "checkpoints.jsonl"), "--keys", str(where / "keys.jsonl")]

    def write(self, count: int) -> None:
        """Append records."""
        records: list[AuditRecord] = []
        for _ in range(count):
            self._number += 1
            records.append(audit_record(self._number))
        asyncio.run(append(self.settings, records))

    def sign(self) -> str:
        """Sign a checkpoint; return what is broken."""

        async def work() -> str:
            async with opened(self.settings) as database:
                notary = notary_of(self.settings, AuditBook(database))
                return (await notary.look(now=NOON, why=Why.ASKED)).broken

        return asyncio.run(work())

    def execute(self, *statements: str) -> None:
        """Do what somebody with the file in his hands can do."""
        with closing(sqlite3.connect(self.database)) as connection, connection:
            for statement in statements:
                connection.execute(statement)

    def note_segment(self, last: int, *, first: int = 1) -> None:
        """Note records up to `last` as archived and take them out, as an archive does, with no file anywhere."""
        self.execute(
            f"INSERT INTO audit_segments VALUES ({last}, {first}, (SELECT hash FROM audit_log WHERE sequence = {last}),"
            f" 'audit-{first}-{last}.tar.gz', 'f00', 'nobody', '2026-06-01T12:00:00.000000+00:00')",
            f"DELETE FROM audit_log WHERE sequence <= {last}",
        )

    def calejo(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run `calejo` in a process of its own."""
        environment = {"CALEJO_AUDIT__CHECKPOINT_DIR": str(self.elsewhere), "PATH": "/usr/bin:/bin"}
        if self.url:
            environment["CALEJO_DATABASE__URL"] = self.url
        return subprocess.run(
            [sys.executable, "-m", "ops.cli.main", *arguments, "--data-dir", str(self.data)],
            capture_output=True,
            text=True,
            timeout=PROCESS_S,
            check=False,
            cwd=ROOT,
            env=environment,
        )

    def export(self, name: str = "export") -> Path:
        """Export with the command, into a folder."""
        to = self.folder / name
        done = self.calejo("audit", "export", str(to), "--by", "anna")
        assert done.returncode in {0, 1}, done.stderr
        return to


def judge(*arguments: str | Path) -> tuple[int, str]:
    """Run the verifier for outsiders: isolated (-I), so that nothing of Calejo can be imported."""
    done = subprocess.run(
        [sys.executable, "-I", str(VERIFIER), *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=PROCESS_S,
        check=False,
        cwd="/",
    )
    return done.returncode, done.stdout + done.stderr


def records_of(export: Path) -> list[dict[str, Any]]:
    """Read an export's records."""
    return [json.loads(line) for line in (export / "records.jsonl").read_text().splitlines()]


def write_records(export: Path, records: list[dict[str, Any]]) -> None:
    """Write them, and a manifest that fits, as a careful forger would."""
    (export / "records.jsonl").write_text("".join(json.dumps(each) + "\n" for each in records))
    manifest = json.loads((export / "manifest.json").read_text())
    manifest |= {"count": records[-1]["sequence"], "head": records[-1]["hash"]}
    (export / "manifest.json").write_text(json.dumps(manifest))
