"""Which alarms a site's endpoint shows, and where: goal: none of ours is missing, none of another site's is shown."""

from __future__ import annotations

import msgspec
import pytest

from actors.messages import Alarms, AlarmView
from actors.publisher.site_alarms import shown_alarms, source_of
from actors.vocabulary import Instant, Severity
from tests.unit.protocols.plants import north

AT = Instant("boot-a", 10**9, 1_800_000_000 * 10**9)


@pytest.mark.parametrize(
    ("subject", "source"),
    [
        ("p1", "/north/s1/p1"),
        ("pump:p3", "/north/s2/p3"),
        ("s2", "/north/s2"),
        ("station:s1", "/north/s1"),
        ("site:north", "/north"),
        ("system", "/north"),
        ("storage", "/north"),
        ("/storage", "/north"),
        ("/sites/north/stations/s1/pumps/p2", "/north/s1/p2"),
        ("/sites/north/stations/s1/safety", "/north/s1"),
        ("/sites/north/stations/gone/safety", "/north"),
        ("/sites/north/endpoints/opcua", "/north"),
        ("pumps row p9", "/north"),
        ("/sites/south/stations/s1/safety", None),
        ("pump:p9", None),
        ("p9", None),
        ("site:south", None),
    ],
)
def test_an_alarm_is_shown_at_what_it_is_about(subject: str, source: str | None) -> None:
    """OPC-3: its pump, station or site; the platform's at the site; another site's nowhere here."""
    assert source_of(subject, north()) == source


def view(state: str, **fields: object) -> AlarmView:
    return AlarmView(
        alarm_id="a", condition="c", subject="p1", severity=Severity.HIGH, state=state, text="t", raised_at=AT,
        returned_at=AT.plus(5) if state in {"RETURNED_UNACKNOWLEDGED", "NORMAL"} else None, occurrences=2,
        **fields,  # type: ignore[arg-type]
    )  # fmt: skip


@pytest.mark.parametrize(
    ("state", "active", "acknowledged"),
    [
        ("UNACKNOWLEDGED", True, False),
        ("ACKNOWLEDGED", True, True),
        ("RETURNED_UNACKNOWLEDGED", False, False),
        ("NORMAL", False, True),
    ],
)
def test_its_state_is_two_questions(state: str, *, active: bool, acknowledged: bool) -> None:
    """ALM-1: does it hold, and has somebody seen it."""
    told = Alarms(alarms=(view(state, acknowledged_by="anna", acknowledged_at=AT),), whole=False)
    shown = shown_alarms(told, north())
    (alarm,) = shown.alarms
    assert (alarm.active, alarm.acknowledged, alarm.source) == (active, acknowledged, "/north/s1/p1")
    broken = msgspec.structs.replace(told.alarms[0], text="\udcff" * 2_000)
    (cut,) = shown_alarms(Alarms(alarms=(broken,)), north()).alarms
    assert cut.text == "?" * 1_000
    assert (alarm.acknowledged_by, alarm.acknowledged_utc_ns, shown.whole) == ("anna", AT.utc_ns, False)


def test_another_sites_alarms_are_left_out_and_ours_keep_their_order() -> None:
    """OPC-3: what is nobody's here is not shown at all."""
    ours = view("UNACKNOWLEDGED")
    told = Alarms(
        alarms=(
            msgspec.structs.replace(ours, subject="s2"),
            msgspec.structs.replace(ours, subject="site:south"),
            ours,
        )
    )
    assert [alarm.source for alarm in shown_alarms(told, north()).alarms] == ["/north/s2", "/north/s1/p1"]
