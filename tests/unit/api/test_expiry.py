"""Goal: a certificate that expires is alarmed before it has, and the alarm ends when it was replaced."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path

from actors.messages import AlarmAsserted, AlarmReturned
from actors.plan.conditions import ConditionBook
from actors.vocabulary import Severity
from api.expiry import CertificateWatch
from ops.certificates import init, renew
from storage.certificates import Server
from tests.unit.api.served import moment

DAY_S = 86_400.0


def test_an_expiring_certificate_is_alarmed_until_it_is_replaced(tmp_path: Path) -> None:
    """SEC-4: expiry monitored and alarmed; a broken file too; neither alarm outlives its cause."""
    start, conditions = moment(), ConditionBook()
    init(tmp_path, hosts=[], now=start.utc - timedelta(days=380))
    watch = CertificateWatch(tmp_path, conditions)

    assert asyncio.run(watch.look(start)) == ""
    news = [each for each in conditions.news(start) if isinstance(each, AlarmAsserted)]
    assert {(each.condition, each.subject, each.severity) for each in news} == {
        ("certificate_expiring", f"certificates/{server}", Severity.MEDIUM) for server in Server
    }
    assert 16 < watch.days_left["rest"] < 18

    for server in Server:
        renew(tmp_path, server, hosts=[], now=start.utc)
    (tmp_path / "opcua.pem").write_text("torn")
    assert asyncio.run(watch.look(start)) == ""
    later = conditions.news(start)
    assert {each.subject for each in later if isinstance(each, AlarmReturned)} == {
        f"certificates/{server}" for server in Server
    }
    assert [(each.condition, each.subject) for each in later if isinstance(each, AlarmAsserted)] == [
        ("certificate_unreadable", "certificates/opcua")
    ]


def test_no_folder_is_no_alarm(tmp_path: Path) -> None:
    """SEC-4: who has no certificates yet has none that expire."""
    conditions = ConditionBook()
    assert asyncio.run(CertificateWatch(tmp_path / "certs", conditions).look(moment())) == ""
    assert conditions.news(moment()) == ()
