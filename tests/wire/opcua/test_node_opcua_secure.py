"""node-opcua, a client of somebody else's make, with certificates: in, and refused where it should be."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization

from actors.vocabulary import Quality, Scope
from actors.vocabulary.access import UserRole
from actors.vocabulary.client_calls import PastValue, SeeAlarm, SetStop, ShownAlarms
from actors.vocabulary.pki import UserCertificate
from tests.wire.opcua.papers import CLIENT_URI, Cabinet, Guarded, Paper, guarded, paper
from tests.wire.opcua.served import DEADLINE_S, PUMP, alarm_shown

pytestmark = [pytest.mark.wire, pytest.mark.services]

OPERATES = {
    "pump": f"ns=2;s={PUMP}", "condition": "ns=2;s=conditions/dry_run/p1", "past": f"ns=2;s={PUMP}/setpoint"
}  # fmt: skip
POINT = "/north/s1/p1/actual_speed"


def filed(folder: Path, name: str, one: Paper) -> dict[str, str]:
    """Write a paper for node-opcua; return the two paths."""
    certificate, key = folder / f"{name}.pem", folder / f"{name}-key.pem"
    certificate.write_bytes(one.certificate.public_bytes(serialization.Encoding.PEM))
    key.write_bytes(one.key_pem)
    (folder / f"{name}.der").write_bytes(one.der)
    return {"certificate": str(certificate), "key": str(key)}


async def visit(peers: Path, folder: Path, one: Guarded, **order: Any) -> Any:
    process = await asyncio.create_subprocess_exec(
        "node",
        "opcua/secure.js",
        cwd=peers,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    wanted = {
        "url": one.publisher.endpoint.bound,
        "node": f"ns=2;s={POINT}",
        "uri": CLIENT_URI,
        "folder": str(folder / "pki"),
        "policy": "Basic256Sha256",
        "mode": "SignAndEncrypt",
        **order,
    }
    async with asyncio.timeout(4 * DEADLINE_S):
        out, _ = await process.communicate(json.dumps(wanted).encode())
    return json.loads(out)


def test_node_opcua_comes_in_by_name_and_by_certificate(node_opcua: Path, tmp_path: Path) -> None:
    """OPC-4, OPC-3: each policy and mode with a name: reads, subscribes, stops, acknowledges, looks back; one writes
    by name, one by a user's certificate.
    """

    async def story() -> None:
        keys = {paper("user"): UserCertificate(name="plc-7", role=UserRole.FIELD)}
        async with guarded(Cabinet(paper("client"), users=keys)) as one:
            own = filed(tmp_path, "client", paper("client"))
            filed(tmp_path, "user", paper("user"))
            anna = {**own, "user": "anna", "password": "correct horse", "operates": OPERATES}
            alarm = alarm_shown("dry_run", "p1", PUMP)
            one.publisher.endpoint.show_alarms(ShownAlarms(alarms=(alarm,), whole=True))
            one.publisher.past[("p1", "setpoint")] = [
                PastValue(at=datetime(2026, 11, 21, 12, minute, tzinfo=UTC), value=30.0, quality=Quality.GOOD)
                for minute in range(3)
            ]
            for policy in ("Basic256Sha256", "Aes256_Sha256_RsaPss"):
                for mode in ("Sign", "SignAndEncrypt"):
                    one.publisher.show({POINT: 31.5})
                    answer = await visit(node_opcua, tmp_path, one, **anna, policy=policy, mode=mode)
                    assert answer == {
                        "read": 31.5, "written": "BadUserAccessDenied", "change": 31.5, "stop": "Good", "seen": "Good",
                        "history": [30.0, 30.0, 30.0, None],  # with the bound at the end: there is none
                    }, (policy, mode)  # fmt: skip
                    stop, seen = one.publisher.calls[-2:]
                    assert {stop.caller.name, seen.caller.name} == {"anna"}
                    assert stop.command == SetStop(scope=Scope.PUMP, scope_id="p1", reason="a leak")
                    assert seen.command == SeeAlarm(alarm_id=alarm.alarm_id, comment="on my way")
            answer = await visit(node_opcua, tmp_path, one, **own, user="plc", password="level sensor")
            assert answer == {"read": 31.5, "written": "Good", "change": 12.5}
            certified = {
                "userCertificate": str(tmp_path / "user.der"),
                "userKey": str(tmp_path / "user-key.pem"),
            }
            one.publisher.show({POINT: 31.5})
            answer = await visit(node_opcua, tmp_path, one, **own, **certified)
            assert answer == {"read": 31.5, "written": "Good", "change": 12.5}
            assert ("LOGIN", "certificate:plc-7", "") in one.users.told

    asyncio.run(story())


def test_node_opcua_is_refused_where_it_should_be(node_opcua: Path, tmp_path: Path) -> None:
    """OPC-4: a stranger's certificate, a wrong password, no name, no security: no session, nothing read or written."""

    async def story() -> None:
        async with guarded() as one:
            own = filed(tmp_path, "client", paper("client"))
            stranger = filed(tmp_path, "stranger", paper("stranger"))
            anna = {"user": "anna", "password": "correct horse"}
            for order in (
                {**stranger, **anna},
                {**own, "user": "anna", "password": "wrong"},
                own,
                {**own, **anna, "mode": "None", "policy": "None"},
            ):
                answer = await visit(node_opcua, tmp_path, one, **order)
                assert set(answer) == {"refused"}, order
            assert one.publisher.requests == []
            assert one.users.counts["CERTIFICATE_REJECTED", "refused"] >= 1
            assert one.users.counts["LOGIN", "refused"] >= 1
            assert one.users.counts["LOGIN", "success"] == 0

    asyncio.run(story())
