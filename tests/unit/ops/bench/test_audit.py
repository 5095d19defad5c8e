"""The audit trail's figures: measured on what the storage actor does, and shown with their units."""

from pathlib import Path

import pytest

from actors.vocabulary import RefusedError
from ops.bench import audit
from tests.services import Postgres


def test_sqlite_is_measured_and_shown(tmp_path: Path) -> None:
    """OPS-5, AUD-1: every record that was timed is in the chain that was verified."""
    (found,) = audit.run(tmp_path, count=1200, url="")
    assert (found.engine, found.records) == ("SQLite", 1400)
    assert 0 < found.single_p50_ms <= found.single_p99_ms
    assert found.appended_per_s * found.batch_us_per_record == pytest.approx(1e6)
    assert found.verified_per_s * found.verified_million_s == pytest.approx(1e6)
    assert "SQLite" in audit.shown((found,))
    with pytest.raises(RefusedError, match="already"):
        audit.run(tmp_path, count=1, url="")


@pytest.mark.services
def test_postgresql_is_measured_beside_it(tmp_path: Path, postgres: Postgres) -> None:
    """OPS-5: both engines in one run."""
    url = postgres.fresh_database().replace("postgresql://", "postgresql+psycopg://")
    assert [each.engine for each in audit.run(tmp_path, count=20, url=url)] == ["SQLite", "PostgreSQL"]
