"""Texts that are none, from the wire to the spool: what a client sends never ends whoever writes it down."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from pathlib import Path

import pytest
from asyncua import ua

from actors.vocabulary.records import AuditRecord, Record
from api.access.security_log import SecurityLog
from api.access.wire_users import WireUsers
from storage.spool import SpoolFile
from tests.simulation.fakes import FakeClock
from tests.unit.api.people import Users
from tests.wire.opcua.papers import SAFE, Cabinet, Guarded, client_of, paper
from tests.wire.opcua.papers import Users as PlainUsers
from tests.wire.opcua.served import served

pytestmark = pytest.mark.wire


@pytest.mark.parametrize("name", ["ab\udcff", "an\0na", "\udcff" * 150])
def test_a_name_that_is_no_text_lets_nobody_in_and_is_written_down(tmp_path: Path, name: str) -> None:
    """OPC-5, SEC-5, AUD-4: bytes that are no UTF-8, or NUL, as a user's name: refused, and the record can be kept."""
    spool = SpoolFile(tmp_path / "spool", bytes_max=1_000_000, utc_second=lambda: 1_790_000_000)

    def keep(records: Iterable[Record]) -> None:
        spool.append(list(records))

    async def story() -> None:
        door = WireUsers(Users(), log=SecurityLog(keep, FakeClock()), clock=FakeClock(), wire="OPC UA")
        cabinet = Cabinet(paper("client"))
        try:
            async with served(rules=SAFE, pki=cabinet, doorkeeper=door) as publisher:
                one = Guarded(publisher, cabinet, PlainUsers())
                bad = await client_of(one, user=name, password="correct horse")
                with pytest.raises(ua.uaerrors.BadIdentityTokenInvalid):
                    await bad.connect()
                assert publisher.events("failed") == []
        finally:
            door._hashing.close()

    asyncio.run(story())
    (record,) = [record for _, record in spool.peek(10) if isinstance(record, AuditRecord)]
    assert (record.event_type, record.outcome) == ("LOGIN", "refused: a malformed password token")
    spool.close()


def test_a_security_event_about_what_is_no_text_can_be_kept(tmp_path: Path) -> None:
    """SEC-5, AUD-4: whatever a wire hands to the log, its record is one that the spool takes."""
    spool = SpoolFile(tmp_path / "spool", bytes_max=1_000_000, utc_second=lambda: 1_790_000_000)

    def keep(records: Iterable[Record]) -> None:
        spool.append(list(records))

    log = SecurityLog(keep, FakeClock())
    log.refused("LOGIN", "why\udcff", actor="a\udcffb", peer="192.0.2.7:1", subject="s\0t")
    log.done("LOGIN", actor="c\udcff", peer="192.0.2.7:1")
    refused, done = (record for _, record in spool.peek(10) if isinstance(record, AuditRecord))
    assert (refused.actor, refused.outcome, refused.object_id) == ("a?b", "refused: why?", "s\ufffdt")
    assert done.actor == "c?"
    spool.close()
