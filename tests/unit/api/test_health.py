"""Health and metrics on their own port: what is missing is named, what Prometheus reads is true."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from prometheus_client.parser import text_string_to_metric_families

from actors.messages import EndpointStatus, TreeNode, TreeView
from actors.vocabulary import Instant, Role
from actors.vocabulary.ids import DISCOVERY, ROOT, STORAGE
from actors.vocabulary.links import LinkStatus
from api.health import judge
from api.metrics import exposition
from tests.unit.api.served import MODBUS, OPCUA, SAFETY_1, Served, Tree, served


@pytest.fixture
def api(tmp_path: Path) -> Iterator[Served]:
    with served(tmp_path) as running:
        yield running


def node(address: str, role: Role, state: str = "running", last_error: str = "") -> TreeNode:
    return TreeNode(
        address=address, role=role, kind="process", state=state, pid=1, node_id="n", restarts=2, last_error=last_error,
        mailbox_depth=None, rss_mib=None, lost_tells=5,
    )  # fmt: skip


def samples(text: str) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """Parse with Prometheus' own parser; a repeated series would be an error there, and is one here."""
    found: dict[tuple[str, tuple[tuple[str, str], ...]], float] = {}
    for family in text_string_to_metric_families(text):
        assert family.documentation, f"{family.name} has no help"
        for sample in family.samples:
            key = (sample.name, tuple(sorted(sample.labels.items())))
            assert key not in found, f"{key} twice"
            found[key] = sample.value
    return found


def test_a_living_process_says_so_and_is_ready_when_everything_serves(api: Served) -> None:
    """API-3: live and ready on the health port, not on REST's."""
    assert api.get("/health/live", port=api.health).json() == {
        "status": "live",
        "data_dir": api.settings.data_dir,
    }
    ready = api.get("/health/ready", port=api.health)
    assert (ready.status, ready.json()) == (200, {"ready": True, "missing": []})
    api.get("/health/live").problem(404)


@pytest.mark.parametrize("address", [ROOT, DISCOVERY, MODBUS])
@pytest.mark.parametrize("how", ["dead", "deaf"])
@pytest.mark.usefixtures("impatient")
def test_what_is_missing_is_named_in_time(api: Served, address: str, how: str) -> None:
    """API-3: 503 with the part that does not answer, within what a probe waits."""
    getattr(api.tree, how).add(address)
    answer = api.get("/health/ready", port=api.health)
    assert answer.status == 503
    assert any(address in text for text in answer.json()["missing"])
    assert answer.seconds < 6.0


def test_an_endpoint_without_a_port_is_not_ready(api: Served) -> None:
    """API-3: a gate that waits for its first setpoint does not serve yet."""
    api.tree.ports[OPCUA] = ""
    assert api.get("/health/ready", port=api.health).json()["missing"] == [f"{OPCUA} has no port yet"]


def test_judgement() -> None:
    """API-3: what is coming is missing; what is quarantined is known and waited for no longer."""
    safety = node(SAFETY_1, Role.SAFETY)
    assert judge((safety,), {}, []).ready
    assert judge((safety, node("/x", Role.PUMP, "quarantined")), {}, []).ready
    assert judge((safety, node("/x", Role.PUMP, "starting")), {}, []).missing == ["/x is starting"]
    assert not judge((), {}, []).ready


def test_why_an_endpoint_has_no_port(api: Served) -> None:
    """API-3, SUP-7: the operator reads that the port is taken, not only that it is missing."""
    api.tree.ports[OPCUA] = ""
    nodes = (node(SAFETY_1, Role.SAFETY), node(OPCUA, Role.OPCUA, last_error="port 4840 is taken"))
    api.tree.odd[ROOT] = TreeView(nodes=nodes)
    missing = api.get("/health/ready", port=api.health).json()["missing"]
    assert missing == [f"{OPCUA} has no port yet (port 4840 is taken)"]


def test_a_quarantined_site_is_not_waited_for(api: Served) -> None:
    """SUP-5: a site without ports of its own is quarantined; its endpoints never come."""
    api.tree.dead |= {MODBUS, OPCUA}
    nodes = (node(SAFETY_1, Role.SAFETY), node("/sites/north", Role.SUPERVISOR, "quarantined"))
    api.tree.odd[ROOT] = TreeView(nodes=nodes)
    assert api.get("/health/ready", port=api.health).status == 200


def test_detail_shows_every_part(api: Served) -> None:
    """API-3: readiness, storage, endpoints, actors; a dead part stands there as unavailable."""
    detail = api.get("/health/detail", port=api.health).json()
    assert detail["storage"]["written_total"] == 99
    modbus = detail["endpoints"][MODBUS]
    assert (modbus["bound"], modbus["clients"]) == ("127.0.0.1:5020", 1)
    assert detail["actors"][SAFETY_1] == "running"
    api.tree.dead |= {STORAGE, MODBUS}
    detail = api.get("/health/detail", port=api.health).json()
    assert STORAGE in detail["storage"]["unavailable"]
    assert MODBUS in detail["endpoints"][MODBUS]


def test_metrics_are_what_prometheus_reads(api: Served) -> None:
    """OPS-2, API-3: the exposition parses, and its figures are the actors'."""
    answer = api.get("/metrics", port=api.health)
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    found = samples(answer.raw.decode())
    assert found["calejo_ready", ()] == 1
    assert found["calejo_endpoint_bound", (("endpoint", MODBUS),)] == 1
    assert found["calejo_setpoint_hertz", (("endpoint", MODBUS), ("pump", "p1"))] == 35.0
    assert found["calejo_run_inhibit", (("endpoint", OPCUA), ("pump", "p3"))] == 0
    gate = (("endpoint", MODBUS), ("pump", "p1"), ("reason", "older_epoch"))
    assert found["calejo_gate_refused_total", gate] == 2
    actor = (("address", SAFETY_1), ("role", "safety"))
    assert found["calejo_actor_state", (*actor, ("state", "running"))] == 1
    assert found["calejo_actor_state", (*actor, ("state", "quarantined"))] == 0
    assert found["calejo_actor_restarts_total", actor] == 2
    assert found["calejo_actor_resident_bytes", actor] == 51.5 * 1024 * 1024
    assert found["calejo_spool_records", ()] == 4
    assert found["calejo_records_written_total", ()] == 99


def test_what_does_not_answer_is_absent_from_the_metrics(api: Served) -> None:
    """OPS-2: an alert on absence must see it; a scrape never fails."""
    api.tree.dead |= {ROOT, STORAGE, MODBUS}
    answer = api.get("/metrics", port=api.health)
    assert answer.status == 200
    found = samples(answer.raw.decode())
    assert found["calejo_ready", ()] == 0
    assert found["calejo_endpoint_bound", (("endpoint", MODBUS),)] == 0
    names = {name for name, _ in found}
    assert "calejo_actor_state" not in names
    assert "calejo_spool_records" not in names
    assert found["calejo_endpoint_bound", (("endpoint", OPCUA),)] == 1


def test_labels_of_every_kind_survive() -> None:
    """OPS-2: quotes, backslashes and line ends in a name do not break the exposition; doubles leave one series."""
    odd = 'say "hi"\\ \n there'
    status = msgspec.structs.replace(Tree().endpoint(MODBUS), pumps=())
    text = exposition(
        nodes=(node(odd, Role.PUMP), node(odd, Role.PUMP)), endpoints={odd: status}, storage=None, ready=False
    ).decode()
    found = samples(text)
    assert found["calejo_actor_lost_tells_total", (("address", odd), ("role", "pump"))] == 5
    assert ("calejo_actor_mailbox_depth", (("address", odd), ("role", "pump"))) not in found


def linked(*, session: bool) -> EndpointStatus:
    link = LinkStatus(
        peer="mqtts://broker:8883", connected=session, host_online=session, session=session, connects=3, births=2,
        commands=5, commands_refused=1, backfill_waiting=40, backfill_lost=7, last_error="" if session else "refused",
    )  # fmt: skip
    return EndpointStatus(
        protocol="sparkplug", bound="mqtts://broker:8883/calejo/north" if session else "", clients=int(session),
        pumps=(), writes_refused=0, stops_active=(), sent_at=Instant("boot", 1, 1), link=link,
    )  # fmt: skip


def test_a_broker_that_is_away_is_shown_but_waited_for_by_nobody() -> None:
    """SPB-1, API-3: the plant is controlled without it; metrics tell, readiness does not suffer."""
    safety = node("/sites/north/stations/s1/safety", Role.SAFETY)
    assert judge((safety,), {"/sites/north/endpoints/sparkplug": linked(session=False)}, []).ready
    for session in (False, True):
        text = exposition(
            nodes=(), endpoints={"spb": linked(session=session)}, storage=None, ready=True
        ).decode()
        found = samples(text)
        label = (("endpoint", "spb"),)
        assert found["calejo_link_session", label] == float(session)
        assert found["calejo_link_connected", label] == float(session)
        assert found["calejo_link_backfill_waiting", label] == 40
        assert found["calejo_link_backfill_lost_total", label] == 7
        assert found["calejo_link_commands_refused_total", label] == 1
