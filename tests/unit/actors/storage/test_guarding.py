"""The storage actor and the trail: signed, watched, and what of it becomes an alarm or a record of its own."""

import asyncio
import json
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from actors.messages import AlarmAsserted, AlarmReturned, StoreRecords, Tick
from actors.start import WorkerStart
from actors.storage import deriving, guarding
from actors.storage.actor import StorageActor
from actors.vocabulary import DeviceError, Role, Scope, Settings, Severity
from actors.vocabulary.audit_trail import Look
from actors.vocabulary.ids import ALARM, STORAGE
from actors.vocabulary.records import AlarmRecord, FailsafeRecord
from actors.vocabulary.settings import AuditSettings
from api.dashboard import texts
from tests.unit.actors.storage.ports import START, FakePorts
from tests.unit.actors.storage.test_storage_actor import FakeSpool, FakeWriter
from tests.unit.storage.contract import NOON, moment

FREE = 1000 * guarding.MIB


class FakeNotary:
    def __init__(self) -> None:
        self.look_: Look | DeviceError = Look()
        self.looks = 0

    async def look(self, *, now: datetime) -> Look:
        self.looks += 1
        if isinstance(self.look_, DeviceError):
            raise self.look_
        return self.look_


class Scene:
    def __init__(self, retention_days: int = 0) -> None:
        self.ports = FakePorts(STORAGE)
        self.spool, self.notary = FakeSpool(), FakeNotary()
        self.free: int | DeviceError = FREE
        settings = Settings(data_dir="/nowhere", audit=AuditSettings(retention_days=retention_days))
        start = WorkerStart(role=Role.STORAGE, address=STORAGE, settings=settings)
        self.actor = StorageActor(
            self.ports, start, self.spool, FakeWriter(), notary=self.notary, room=self._room
        )

    def _room(self) -> int:
        if isinstance(self.free, DeviceError):
            raise self.free
        return self.free

    async def looked(self) -> None:
        before = self.notary.looks
        await self.ports.tasks.settle(lambda: self.notary.looks > before + 1)

    async def alarms(self) -> set[str]:
        """What holds now; it forgets the returns of the first beat."""
        told = self.ports.directory.ref(ALARM).told
        told.clear()
        await self.actor.handle(Tick(what="alarms"))
        held = {news.condition: news.severity for news in told if isinstance(news, AlarmAsserted)}
        assert all(guarding.CONDITIONS[name] is held[name] for name in held if name in guarding.CONDITIONS)
        assert not held.keys() & {news.condition for news in told if isinstance(news, AlarmReturned)}
        return set(held)


def run(story: Any, *, retention_days: int = 0) -> None:
    async def inside() -> None:
        scene = Scene(retention_days)
        await scene.actor.start()
        try:
            assert await scene.alarms() == set()
            await story(scene)
        finally:
            await scene.ports.tasks.end()

    asyncio.run(inside())


def test_a_broken_trail_is_an_alarm_and_one_record() -> None:
    """AUD-1: the alarm stands while it is broken, the trail itself says it once."""

    async def story(scene: Scene) -> None:
        scene.notary.look_ = Look(broken="record 7 is another")
        await scene.looked()
        await scene.looked()
        assert await scene.alarms() == {guarding.BROKEN}
        await scene.ports.tasks.settle(lambda: not scene.spool.waiting)
        written = [name for batch in scene.actor._writer.batches for name in batch]  # type: ignore[attr-defined]
        assert sum(name.endswith(":broken") for name in written) == 1
        scene.notary.look_ = Look()
        await scene.looked()
        assert await scene.alarms() == set()

    run(story)


def test_a_trail_that_cannot_be_signed_or_kept_elsewhere_is_an_alarm() -> None:
    """AUD-1: after a minute without a signature; at once when only the copy is missing."""

    async def story(scene: Scene) -> None:
        scene.notary.look_ = DeviceError("no route")
        await scene.looked()
        since = scene.ports.clock.now()
        await scene.ports.tasks.settle(lambda: scene.ports.clock.now().seconds_since(since) > 61.0)
        assert await scene.alarms() == {guarding.UNSIGNED}
        scene.notary.look_ = Look(not_kept_elsewhere="share away")
        await scene.looked()
        assert await scene.alarms() == {guarding.NOT_KEPT}

    run(story)


@pytest.mark.parametrize(("retention_days", "due"), [(30, True), (31, False), (0, False)])
def test_records_beyond_the_policy_are_an_alarm(retention_days: int, *, due: bool) -> None:
    """AUD-3: nothing leaves by itself, so somebody is told; without a policy, or after an archive, there is none."""

    async def story(scene: Scene) -> None:
        scene.notary.look_ = Look(oldest_at="2026-05-02T11:59:00.000000Z")
        await scene.looked()
        assert await scene.alarms() == ({guarding.RETENTION_DUE} if due else set())
        for archived in ("", "2026-06-01T11:59:00.000000Z", "no time"):
            scene.notary.look_ = Look(oldest_at=archived)
            await scene.looked()
            assert await scene.alarms() == set()

    run(story, retention_days=retention_days)


def test_every_condition_has_a_name_for_people() -> None:
    """ALM-1, HMI-2: what this actor raises is in the catalogue."""
    english = json.loads((Path(texts.__file__).parent / "texts" / "en.json").read_text("utf-8"))
    assert [name for name in guarding.CONDITIONS if f"condition.{name}" not in english] == []


def test_a_disk_that_is_nearly_full_or_failing_is_an_alarm() -> None:
    """AUD-4: below the limit, with hysteresis on return; also when nobody can say how much is free."""

    async def story(scene: Scene) -> None:
        limit = 512 * guarding.MIB
        for free, held in (
            (limit, set()),
            (limit - 1, {guarding.NEARLY_FULL}),
            (limit + 1, {guarding.NEARLY_FULL}),
        ):
            scene.free = free
            assert await scene.alarms() == held
        scene.free = int(limit * 1.1) + 1
        assert await scene.alarms() == set()
        scene.free = DeviceError("input/output error")
        assert await scene.alarms() == {guarding.NEARLY_FULL}

    run(story)


def test_a_queue_on_disk_that_refuses_is_an_alarm(monkeypatch: pytest.MonkeyPatch) -> None:
    """AUD-4: storage that fails says so, apart from storage that is full."""

    async def story(scene: Scene) -> None:
        def refuse() -> tuple[int, int]:
            raise DeviceError("read-only file system")

        monkeypatch.setattr(scene.spool, "size", refuse)
        assert await scene.alarms() == {guarding.SPOOL_FAILED, "spool_filling"}

    run(story)


def test_failsafes_and_quarantines_are_in_the_trail_once() -> None:
    """AUD-2: whichever of a period's two records comes first, and however often."""
    period = FailsafeRecord(
        record_id="f1", scope=Scope.PUMP, scope_id="p1", reason="plan", started_at=NOON, detail="d"
    )
    ended = FailsafeRecord(
        record_id="f1",
        scope=Scope.PUMP,
        scope_id="p1",
        reason="plan",
        started_at=NOON,
        detail="d",
        ended_at=moment(9),
    )
    alarm = AlarmRecord(
        record_id="q1",
        condition=deriving.QUARANTINED,
        subject="/storage",
        severity=Severity.HIGH,
        text="5 restarts",
        raised_at=NOON,
    )
    found = {each.record_id: each for each in deriving.derived((ended, period, alarm, alarm))}
    assert {name: (each.event_type, each.at) for name, each in found.items()} == {
        "f1:entered": ("FAILSAFE_ENTERED", NOON),
        "f1:left": ("FAILSAFE_LEFT", moment(9)),
        "q1:quarantined": ("CHILD_QUARANTINED", NOON),
    }

    async def story(scene: Scene) -> None:
        await scene.actor.handle(StoreRecords(records=(period,)))
        await scene.ports.tasks.settle(lambda: not scene.spool.waiting)
        assert scene.actor._writer.batches == [["f1", "f1:entered"]]  # type: ignore[attr-defined]

    run(story)


def test_the_condition_is_the_supervisors_word() -> None:
    """AUD-2: two modules that do not know each other mean the same alarm."""
    from supervisors.announcements import QUARANTINED

    assert deriving.QUARANTINED == QUARANTINED


def test_a_key_that_was_made_is_in_the_trail_by_its_name() -> None:
    """AUD-4: the same key is the same record, however often it is looked at."""
    now = START
    state, (record,) = guarding.looked(guarding.TrailState(), Look(key_made="k1"), now=now)
    assert (record.event_type, record.after) == ("AUDIT_KEY_MADE", {"key_id": "k1"})
    assert guarding.looked(state, Look(key_made="k1"), now=now)[1] == (record,)
    assert guarding.looked(state, Look(), now=now)[1] == ()
