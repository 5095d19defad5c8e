"""Goal: a certificate that expires is alarmed before it has, and the alarm ends when it was replaced."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path

from actors.messages import AlarmAsserted, AlarmReturned
from actors.plan.conditions import ConditionBook
from actors.vocabulary import Settings, Severity
from actors.vocabulary.settings import ApiSettings, ModbusSettings, SparkplugSettings
from api.expiry import CertificateWatch
from ops.certificates import init, renew
from storage.certificates import Server, configured
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


def test_certificates_elsewhere_are_watched_and_none_hides_another(tmp_path: Path) -> None:
    """SEC-4: what the settings name, MQTT's own and its authority too; of one name there may be several."""
    start, conditions = moment(), ConditionBook()
    own, mqtt = tmp_path / "certs", tmp_path / "mqtt"
    init(own, hosts=[], now=start.utc)
    init(mqtt, hosts=[], now=start.utc - timedelta(days=380))
    settings = Settings(
        data_dir=str(tmp_path),
        sparkplug=SparkplugSettings(cert_file=str(mqtt / "rest.pem"), ca_file=str(mqtt / "ca.pem")),
        modbus=ModbusSettings(client_ca=str(mqtt / "opcua.pem")),
        api=ApiSettings(certificate=str(mqtt / "rest.pem")),
    )
    watch = CertificateWatch(own, conditions, also=configured(settings))
    assert asyncio.run(watch.look(start)) == ""
    elsewhere = {str(mqtt / f"{name}.pem") for name in ("rest", "ca", "opcua")}
    assert set(watch.days_left) == {"ca", "rest", "opcua", "modbus", *elsewhere}
    assert watch.days_left["rest"] > 300
    assert watch.days_left[str(mqtt / "rest.pem")] < 18
    asserted = [each for each in conditions.news(start) if isinstance(each, AlarmAsserted)]
    assert sorted(each.subject for each in asserted) == [
        f"certificates/{mqtt / 'opcua.pem'}", f"certificates/{mqtt / 'rest.pem'}",
    ]  # fmt: skip


def test_no_folder_is_no_alarm(tmp_path: Path) -> None:
    """SEC-4: who has no certificates yet has none that expire."""
    conditions = ConditionBook()
    assert asyncio.run(CertificateWatch(tmp_path / "certs", conditions).look(moment())) == ""
    assert conditions.news(moment()) == ()
