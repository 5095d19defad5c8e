"""`calejo wire check` against real endpoints: a sound one passes, and each thing that can be wrong is told as wrong."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from ops.kit import check_both
from ops.kit.check import check_site, dark_site
from ops.kit.report import Finding, Verdict, failed
from ops.kit.tags import Tag
from ops.kit.watch import Endpoint
from protocols.modbus.limits import ModbusLimits
from tests.unit.api.served import served
from tests.unit.ops.cli.runs import run, trust
from tests.wire.kit.both import PUMPS, SETTLED, TAGS, Both, announce, both, both_in_a_thread, tag
from tests.wire.modbus import served as modbus

pytestmark = [pytest.mark.wire, pytest.mark.system("ops.kit")]


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check_both, "_HEARTBEAT_WAIT_S", 1.0)
    monkeypatch.setattr(check_both, "_AGAIN_S", 0.05)
    monkeypatch.setattr(check_both, "_LOOKS", 4)
    monkeypatch.setattr("ops.kit.check._ASKED", 10)


@pytest.fixture(scope="module")
def served_for_all() -> Iterator[Both]:
    """One pair of endpoints for the tests that leave them as they are."""
    with both_in_a_thread() as pair:
        yield pair


@pytest.fixture
def pair(served_for_all: Both) -> Both:
    """Both endpoints, settled."""
    served_for_all.do(Both.settle)
    return served_for_all


OPEN = ("opcua security", "opcua refuses strangers")
"""What is noted of an OPC UA endpoint that lets everybody look, on loopback."""


def checked(
    pair: Both, *, tags: Sequence[Tag] = TAGS, whole: bool = True, without_plc: bool = False
) -> list[Finding]:
    return asyncio.run(check_site(pair.endpoint, tags, whole=whole, without_plc=without_plc))


def wrong(findings: Sequence[Finding]) -> dict[tuple[str, str], str]:
    return {(each.check, each.subject): each.detail for each in findings if each.verdict is Verdict.FAIL}


def changed(path: str, **changes: Any) -> tuple[Tag, ...]:
    return tuple(msgspec.structs.replace(each, **changes) if each.path == path else each for each in TAGS)


def moved(path: str, **changes: Any) -> tuple[Tag, ...]:
    place = msgspec.structs.replace(tag(path).places[0], **changes)
    return changed(path, places=(place,))


def test_a_sound_site_passes_and_nothing_was_written(pair: Both) -> None:
    """MOD-2, MOD-3, OPC-1, OPC-2, WDG-4: every check is made, and no write reached a publisher."""
    findings = checked(pair)
    assert wrong(findings) == {}
    assert not failed(findings)
    assert {each.check for each in findings} == {
        "modbus connects", "opcua connects", "modbus map is readable", "emergency stop coils",
        "modbus refuses beyond the map", "modbus refuses unknown units", "modbus refuses other functions",
        "modbus refuses writes to read-only", "opcua nodes have type and access", "opcua nodes are the map's",
        "emergency stop nodes", "opcua refuses writes to read-only", "opcua security", "opcua refuses strangers",
        "both wires say the same",
        "handshake block is untorn", "heartbeat moves", "modbus round trip", "opcua round trip", "modbus listens",
        "opcua listens",
    }  # fmt: skip
    assert [each.check for each in findings if each.verdict is Verdict.NOTE] in (
        [*OPEN],
        [*OPEN, "modbus round trip"],
        [*OPEN, "opcua round trip"],
        [*OPEN, "modbus round trip", "opcua round trip"],
    ), "policy None on loopback is a note; a slow machine may be one too"
    assert pair.modbus.requests == []
    # What the server refuses is brought to be audited, as refused.
    assert [write for each in pair.opcua.requests for write in each if write.refusal is None] == []


def test_a_choice_is_checked_alone(pair: Both) -> None:
    """MOD-2: one station's check needs nothing of the others."""
    own = tuple(each for each in TAGS if each.station_id == "s2")
    findings = checked(pair, tags=own, whole=False)
    assert wrong(findings) == {}
    assert {each.subject for each in findings if each.check == "heartbeat moves"} == {"/north/s2/p3"}
    assert not any(each.check == "opcua nodes are the map's" for each in findings)


@pytest.mark.parametrize(
    ("tags", "check_name", "told"),
    [
        (
            moved("/north/s1/p2/setpoint", address=163, count=1, scale=0.01),
            "both wires say the same",
            "p2/setpoint",
        ),
        (moved("/north/s2/p3/epoch", address=9_000), "modbus map is readable", "exception 02"),
        (
            moved("/north/s1/p1/wet_well_level", scale=0.01),
            "both wires say the same",
            "modbus 12.34, opcua 1.234",
        ),
        (moved("/north/s1/p1/actual_flow", type="uint32"), "both wires say the same", "p1/actual_flow"),
        (
            moved("/north/s1/p1/epoch", address=108),
            "both wires say the same",
            "modbus 70000, opcua 1800000001",
        ),
        (
            changed("/north/s1/p1/setpoint", type="UInt16"),
            "opcua nodes have type and access",
            "Double, the map says",
        ),
        (changed("/north/s1/p1/running", access="r"), "opcua nodes have type and access", "writable"),
        (
            changed("/north/s1/p1/mode", node_id="ns=2;s=/north/s1/p1/modus"),
            "opcua nodes have type and access",
            "BadNodeIdUnknown",
        ),
        (
            tuple(each for each in TAGS if each.path != "/north/s2/p3/mode"),
            "opcua nodes are the map's",
            "found by browsing, not on the map",
        ),
        (
            tuple(each for each in TAGS if each.point != "emergency_stop" or each.pump_id is None),
            "emergency stop coils",
            "not there for every scope",
        ),
    ],
    ids=["address", "missing", "scale", "sign", "counter", "type", "access", "node", "extra node", "no stop"],
)
def test_a_map_that_lies_is_found(pair: Both, tags: tuple[Tag, ...], check_name: str, told: str) -> None:
    """MOD-2, OPC-1: what the map says wrongly is named, with the point."""
    findings = checked(pair, tags=tags)
    details = [detail for (name, _), detail in wrong(findings).items() if name == check_name]
    assert details, wrong(findings)
    assert any(told in detail for detail in details), details
    # What is wrong with one pump keeps no other from being checked, except where a part ends at its first refusal.
    passed = {(each.check, each.subject) for each in findings if each.verdict is not Verdict.FAIL}
    assert ("both wires say the same", "/north/s2") in passed
    assert ("heartbeat moves", "/north/s1/p2") in passed


def test_an_endpoint_that_takes_a_write_to_what_is_read_only_fails(pair: Both) -> None:
    """MOD-3, OPC-2: if the point that must refuse were writable, the check would say so."""
    writable = tag("/north/s1/p1/actual_power")
    beat = tag("/north/s1/scada_heartbeat")
    lying = changed("/north/s1/p1/epoch", places=writable.places, node_id=beat.node_id, type="UInt16")
    findings = checked(pair, tags=lying)
    found = wrong(findings)
    assert "accepted, expected exception 02" in found["modbus refuses writes to read-only", "/north/s1/p1"]
    assert "accepted, expected a refusal" in found["opcua refuses writes to read-only", "/north/s1/p1"]
    # Even then it wrote what was there.
    assert [(write.path, write.value) for each in pair.modbus.requests for write in each] == [
        ("/north/s1/p1/actual_power", 12.34)
    ]


def test_a_torn_block_and_values_that_differ(pair: Both) -> None:
    """WDG-4: sequence and sequence_end, and one value on two wires."""

    def prepare(pair: Both) -> None:
        pair.beating = False
        for end in ("sequence", "sequence_end"):
            pair.show({f"/north/s1/p1/{end}": 0})
        pair.modbus.show({"/north/s1/p1/sequence_end": 7})
        pair.opcua.show({"/north/s1/p2/setpoint": 34.0})

    pair.do(prepare)
    findings = checked(pair, without_plc=True)
    found = wrong(findings)
    assert "modbus: 0 and 7" in found["handshake block is untorn", "/north/s1/p1"]
    assert found["both wires say the same", "/north/s1/p2"] == "/north/s1/p2/setpoint: modbus 35.25, opcua 34"
    assert len(found) == 2


@pytest.mark.parametrize("without_plc", [False, True])
def test_a_heartbeat_that_stands_still(pair: Both, without_plc: bool) -> None:
    """WDG-4: a fault, with the reason that the wire gives; a note while no controller writes yet."""

    def prepare(pair: Both) -> None:
        pair.beating = False
        pair.show({"/north/s1/p1/reason": 30})

    pair.do(prepare)
    findings = checked(pair, without_plc=without_plc)
    beats = [each for each in findings if each.check == "heartbeat moves"]
    assert {each.verdict for each in beats} == {Verdict.NOTE if without_plc else Verdict.FAIL}
    assert "modbus and opcua: not for 1 s, reason HANDED_BACK_FEEDBACK" in {each.detail for each in beats}


def test_one_wire_alone_is_checked_all_the_same(pair: Both) -> None:
    """OPC-5: an endpoint that is gone is a finding; the other one's part of the report is there."""
    where = msgspec.structs.replace(pair.endpoint, opcua_url="opc.tcp://127.0.0.1:1")
    findings = asyncio.run(check_site(where, TAGS, whole=True, without_plc=False))
    assert set(wrong(findings)) == {("opcua connects", "opc.tcp://127.0.0.1:1")}
    assert any(each.check == "modbus round trip" for each in findings)
    assert failed([dark_site(msgspec.structs.replace(BARE, dark="nobody has the ports"))])
    assert failed([])


BARE = Endpoint(site_id="north", modbus_host="127.0.0.1", modbus_port=1, opcua_url="opc.tcp://127.0.0.1:1")


def test_a_plant_that_is_larger_than_the_endpoint_s_patience(pair: Both) -> None:
    """MOD-4: "too many requests" is waited for, not taken for a hole in the map."""

    async def story() -> list[Finding]:
        few = {"requests_per_s": 100.0, "requests_burst": 10, "share_per_s": 100.0, "share_burst": 10}
        limits = ModbusLimits(**few)  # type: ignore[arg-type]
        async with modbus.served(limits) as slow:
            slow.show({f"{pump}/{point}": value for pump in PUMPS for point, value in SETTLED.items()})
            where = msgspec.structs.replace(pair.endpoint, modbus_port=modbus.port_of(slow))
            found = await check_site(where, TAGS, whole=True, without_plc=True)
            assert slow.events("limited")
            return found

    assert wrong(asyncio.run(story())) == {}


def test_an_endpoint_that_dies_in_the_middle_is_a_finding() -> None:
    """OPC-5, MOD-3: the report ends with what was found until then."""

    async def story() -> list[Finding]:
        async with both() as pair:
            pair.opcua.on_refresh = lambda: asyncio.get_running_loop().create_task(
                pair.opcua.endpoint.close()
            )  # type: ignore[assignment]
            return await check_site(pair.endpoint, TAGS, whole=True, without_plc=False)

    findings = asyncio.run(story())
    assert any(name in {"opcua answers", "both wires answers"} for name, _ in wrong(findings))
    assert any(each.check == "modbus listens" for each in findings)


def test_beyond_loopback_policy_none_is_a_fault(pair: Both, monkeypatch: pytest.MonkeyPatch) -> None:
    """OPC-4: without encryption and users only where nobody else can come."""
    monkeypatch.setattr("ops.kit.check_opcua.is_loopback", lambda host: False)
    findings = checked(pair)
    assert "None None (Anonymous)" in next(
        detail for (name, _), detail in wrong(findings).items() if name == "opcua security"
    )


def test_modbus_that_is_bound_elsewhere_on_purpose_is_a_note(pair: Both) -> None:
    """MOD-4: bound beyond loopback with a list of who may come is no fault; that an address proves nothing is told."""
    elsewhere = msgspec.structs.replace(pair.endpoint, modbus_listens="0.0.0.0")
    findings = asyncio.run(check_site(elsewhere, TAGS, whole=True, without_plc=False))
    (note,) = [each for each in findings if each.check == "modbus security"]
    assert note.verdict is Verdict.NOTE
    assert "modbus.allow" in note.detail
    assert not [each for each in findings if each.check == "modbus listens"]


def test_the_command(pair: Both, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """MOD-2: from the map that REST tells to a report, as table and JSON, exit code 0; 1 when something is wrong."""
    data = tmp_path / "data"
    with served(tmp_path) as api:
        folder = announce(data, rest=api.rest, endpoint=pair.endpoint)
        trust(data, tmp_path)
        try:
            table = run(capsys, "wire", "check", "--data-dir", data)
            assert table.code == 0, table.out
            assert " passed, " in table.out.splitlines()[-1]
            report = run(capsys, "wire", "check", "--station", "S2", "--format", "json", "--data-dir", data)
            assert report.code == 0
            assert report.json()["passed"] is True
            assert report.json()["summary"]["fail"] == 0
            assert report.json()["findings"][0]["verdict"] == "pass"
            pair.do(lambda pair: pair.modbus.show({"/north/s1/p1/actual_speed": 1.0}))
            broken = run(capsys, "wire", "check", "--pump", "p1", "--data-dir", data)
            assert broken.code == 1
            assert "FAIL  both wires say the same" in broken.out
            assert "no station 's9'" in run(
                capsys, "wire", "check", "--station", "s9", "--data-dir", data
            ).line(2)
        finally:
            folder.release()
