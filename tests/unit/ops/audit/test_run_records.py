"""What the trail hears of runs: beginnings, ends, deaths, changed settings."""

from pathlib import Path

import msgspec

from actors.vocabulary import Settings
from actors.vocabulary.settings import DatabaseSettings
from ops.run_records import LAST_RUN_FILE, RunRecords
from tests.unit.storage.contract import NOON, moment


def test_a_run_says_that_it_began_and_ended(tmp_path: Path) -> None:
    """AUD-2: the first run only begins; one that ended in order is not missed by the next."""
    settings = Settings(data_dir=str(tmp_path))
    first = RunRecords(settings)
    assert [each.event_type for each in first.began(NOON)] == ["CALEJO_STARTED"]
    stopped = first.ended(moment(5), why="")
    assert (stopped.event_type, stopped.outcome) == ("CALEJO_STOPPED", "success")
    second = RunRecords(settings)
    assert [each.event_type for each in second.began(moment(9))] == ["CALEJO_STARTED"]
    assert second.ended(moment(10), why="Ray's gcs_server ended").outcome == "failed: Ray's gcs_server ended"


def test_a_run_that_was_killed_is_noticed_by_the_next(tmp_path: Path) -> None:
    """AUD-2: once, under the id of the run that died; a damaged memory costs the notice and nothing else."""
    settings = Settings(data_dir=str(tmp_path))
    died = RunRecords(settings)
    (began,) = died.began(NOON)
    noticed, _ = RunRecords(settings).began(moment(60))
    assert (noticed.event_type, noticed.correlation_id) == ("CALEJO_ENDED_UNNOTICED", began.correlation_id)
    (tmp_path / "audit" / LAST_RUN_FILE).write_text("{")
    assert [each.event_type for each in RunRecords(settings).began(moment(90))] == ["CALEJO_STARTED"]


def test_changed_settings_are_told_key_by_key_and_without_secrets(tmp_path: Path) -> None:
    """AUD-2, SEC-3: before and after of what differs; passwords never."""

    def settings(password: str, *, pool: int) -> Settings:
        url = f"postgresql+psycopg://calejo:{password}@db/calejo"
        return Settings(data_dir=str(tmp_path), database=DatabaseSettings(url=url, pool_size=pool))

    RunRecords(settings("s3cret", pool=4)).began(NOON)
    changed = RunRecords(settings("0ther", pool=5)).began(moment(1))[-1]
    assert changed.event_type == "SETTINGS_CHANGED"
    assert (changed.before, changed.after) == ({"database.pool_size": 4}, {"database.pool_size": 5})
    assert b"s3cret" not in (tmp_path / "audit" / LAST_RUN_FILE).read_bytes()
    assert b"0ther" not in msgspec.json.encode(changed)
