"""`calejo wire` where strangers are turned away: Modbus by TLS alone, OPC UA with certificates."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from actors.vocabulary import Settings
from actors.vocabulary.access import UserRole
from actors.vocabulary.settings import ModbusSettings, PortSettings
from ops import certificates
from ops.kit import check_both, check_tls
from ops.kit.check import check_site
from ops.kit.clients import OpcUaWire
from ops.kit.papers import TlsPapers
from ops.kit.report import Finding, Subject, Verdict, failed
from ops.kit.watch import Endpoint, SiteWatch
from ops.modbus_access import prepare, tls_papers_of, wire_files
from ops.rundir import DataDirectory, find_run, urls_of
from protocols.modbus.server import ModbusAccess
from protocols.modbus.tls import TlsFiles, caller_of
from storage.certificates import FOLDER, files_of
from tests.wire.kit.both import TAGS, Both, both
from tests.wire.modbus.certificates import NOW, Pki
from tests.wire.opcua import served as opcua
from tests.wire.opcua.papers import guarded

pytestmark = [pytest.mark.wire, pytest.mark.system("ops.kit")]


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check_both, "_HEARTBEAT_WAIT_S", 1.0)
    monkeypatch.setattr(check_both, "_AGAIN_S", 0.05)
    monkeypatch.setattr(check_both, "_LOOKS", 4)
    monkeypatch.setattr("ops.kit.check._ASKED", 10)


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data directory as `calejo certs init` and a start leave it."""
    folder = tmp_path_factory.mktemp("data")
    Pki(folder / FOLDER)
    assert list(prepare(settings(folder), now=NOW)) == []
    return folder


def settings(folder: Path, *, client_ca: str = "") -> Settings:
    tls = ModbusSettings(tls=True, plain=False, client_ca=client_ca)
    return Settings(data_dir=str(folder), modbus=tls)


def server_files(data_dir: Path) -> ModbusAccess:
    files = files_of(data_dir / FOLDER, "modbus")
    authority = data_dir / FOLDER / "ca.pem"
    tls = TlsFiles(certificate=files.certificate, private_key=files.private_key, client_ca=authority)
    return ModbusAccess(plain=False, tls=tls)


def papers(data_dir: Path) -> TlsPapers:
    found = tls_papers_of(data_dir, str(data_dir / FOLDER / "modbus.pem"))
    assert found is not None
    return found


@asynccontextmanager
async def by_tls_alone(data_dir: Path) -> AsyncIterator[tuple[Both, Endpoint]]:
    """Both endpoints, Modbus by TLS alone, and where they are as `calejo wire` finds them."""
    async with both(access=server_files(data_dir)) as pair:
        host, _, port = pair.modbus.endpoint.bound_tls.rpartition(":")
        yield (
            pair,
            Endpoint(
                site_id="north",
                modbus_host=host,
                modbus_port=1,
                modbus_plain=False,
                modbus_tls_port=int(port),
                modbus_papers=papers(data_dir),
                opcua_url=pair.opcua.endpoint.bound,
            ),
        )


def wrong(findings: list[Finding]) -> dict[str, str]:
    return {each.check: each.detail for each in findings if each.verdict is Verdict.FAIL}


def test_a_site_that_serves_tls_alone_is_checked_whole(data_dir: Path) -> None:
    """MOD-1, MOD-4, SEC-4: by its own READ_ONLY certificate; strangers and old versions are tried and turned away."""

    async def story() -> None:
        async with by_tls_alone(data_dir) as (pair, endpoint):
            findings = await check_site(endpoint, TAGS, whole=True, without_plc=False)
            assert wrong(findings) == {}
            passed = {each.check for each in findings if each.verdict is Verdict.PASS}
            assert passed >= {
                "modbus connects", "modbus map is readable", "modbus refuses writes to read-only",
                "modbus refuses other functions", "both wires say the same", "heartbeat moves", "modbus tls connects",
                "modbus tls asks for a certificate", "modbus tls refuses TLS 1.1", "modbus tls listens",
            }  # fmt: skip
            assert "modbus listens" not in passed, "nothing listens there"
            assert pair.modbus.requests == []
            rejected = pair.modbus.events("certificate_rejected")
            assert ["DID_NOT_RETURN" in each for each in rejected] == [True]

    asyncio.run(story())


def test_watching_a_site_that_serves_tls_alone(data_dir: Path) -> None:
    """MOD-1: both wires are seen; without a certificate Modbus is silent and the other one is not."""

    async def story() -> None:
        async with by_tls_alone(data_dir) as (_, endpoint):
            watching = SiteWatch(endpoint, TAGS)
            looks = await watching.look()
            assert {each.marks for each in looks} == {()}
            await watching.close()
            nobody = SiteWatch(msgspec.structs.replace(endpoint, modbus_papers=None), TAGS)
            assert {each.marks for each in await nobody.look()} == {("modbus: silent",)}
            await nobody.close()

    asyncio.run(story())


def test_without_a_certificate_it_says_what_is_missing(data_dir: Path) -> None:
    """MOD-1: a finding, not a riddle; what needs no certificate is checked all the same."""

    async def story() -> None:
        async with by_tls_alone(data_dir) as (_, endpoint):
            bare = msgspec.structs.replace(endpoint, modbus_papers=None)
            findings = await check_site(bare, TAGS, whole=True, without_plc=False)
            assert set(wrong(findings)) == {"modbus connects"}
            assert "no certificate for calejo-wire" in wrong(findings)["modbus connects"]
            assert "modbus tls asks for a certificate" in {each.check for each in findings}

    asyncio.run(story())


def test_another_server_in_its_place_is_not_believed(data_dir: Path, tmp_path: Path) -> None:
    """SEC-4: the certificate that the run announced and no other, whoever signed it."""
    other = Pki(tmp_path / "other")

    async def story() -> None:
        async with by_tls_alone(data_dir) as (_, endpoint):
            assert endpoint.modbus_papers is not None
            elsewhere = msgspec.structs.replace(
                endpoint.modbus_papers, server=str(other.folder / "modbus.pem")
            )
            findings = await check_site(
                msgspec.structs.replace(endpoint, modbus_papers=elsewhere),
                TAGS,
                whole=True,
                without_plc=False,
            )
            assert set(wrong(findings)) == {"modbus connects", "modbus tls connects"}

    asyncio.run(story())


def test_an_endpoint_that_lets_everybody_in_fails(data_dir: Path) -> None:
    """SEC-4: a server that asks for no certificate, or shakes hands by TLS 1.1, is told as a fault."""
    subject = Subject(site_id="north", tags=(), whole=True, without_plc=False)
    answers = {"old": b"\x16\x03\x02\0\0", "no TLS": b"hello"}

    async def found(server: asyncio.Server) -> dict[str, str]:
        port = server.sockets[0].getsockname()[1]
        async with server:
            return wrong([each async for each in check_tls.modbus_tls(subject, "127.0.0.1", port, None)])

    async def story() -> None:
        def answering(
            content: bytes,
        ) -> Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]:
            async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                await reader.read(1)
                writer.write(content)
                writer.close()

            return serve

        files = files_of(data_dir / FOLDER, "modbus")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(files.certificate, files.private_key)
        loose = await asyncio.start_server(answering(b"\0"), "127.0.0.1", 0, ssl=context)
        assert await found(loose) == {"modbus tls asks for a certificate": "a request was answered"}
        old = await asyncio.start_server(answering(answers["old"]), "127.0.0.1", 0)
        assert await found(old) == {"modbus tls refuses TLS 1.1": "it shakes hands by TLS 1.1"}
        plain = await asyncio.start_server(answering(answers["no TLS"]), "127.0.0.1", 0)
        assert await found(plain) == {"modbus tls refuses TLS 1.1": "it does not speak TLS"}

    asyncio.run(story())


def test_opc_ua_strangers_are_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    """OPC-4: neither without security nor with a certificate made for the moment; a server that takes one fails."""

    async def asked(url: str) -> list[Finding]:
        subject = Subject(site_id="north", tags=(), whole=True, without_plc=False)
        return [each async for each in check_tls.opcua_strangers(subject, OpcUaWire(url))]

    async def safe(_: OpcUaWire) -> list[tuple[str, str, tuple[str, ...]]]:
        return [("Aes256_Sha256_RsaPss", "SignAndEncrypt", ("UserName",))]

    monkeypatch.setattr(OpcUaWire, "endpoints", safe)

    async def story() -> None:
        async with guarded() as one:
            findings = await asked(one.publisher.endpoint.bound)
            assert [(each.check, each.verdict) for each in findings] == [
                ("opcua refuses the unsecured", Verdict.PASS),
                ("opcua refuses unknown certificates", Verdict.PASS),
            ]
            refused = one.publisher.events("refused")
            assert "BadSecurityChecksFailed" in refused, "it was really shown"
        async with opcua.served() as loose:
            # It says that it is safe and is not: the attempts tell.
            findings = await asked(loose.endpoint.bound)
            assert failed(findings)
            assert "got a session" in wrong(findings)["opcua refuses the unsecured"]

    asyncio.run(story())


def test_a_start_makes_the_certificate_where_it_can_and_says_so_where_not(tmp_path: Path) -> None:
    """SEC-4: READ_ONLY, renewed before it ends; where another authority signs, the start says what is needed."""
    Pki(tmp_path / FOLDER)
    assert list(prepare(Settings(data_dir=str(tmp_path)), now=NOW)) == []
    assert not wire_files(tmp_path).certificate.exists(), "without TLS there is nothing to show it to"
    assert list(prepare(settings(tmp_path), now=NOW)) == []
    first = wire_files(tmp_path).certificate.read_bytes()
    assert list(prepare(settings(tmp_path), now=NOW)) == []
    assert wire_files(tmp_path).certificate.read_bytes() == first
    caller, remark = caller_of(x509.load_pem_x509_certificate(first).public_bytes(Encoding.DER))
    assert (caller.name, caller.roles, remark) == (
        "certificate:calejo-wire",
        frozenset({UserRole.READ_ONLY}),
        "",
    )
    later = NOW + timedelta(days=certificates.SERVER_DAYS - 20)
    assert list(prepare(settings(tmp_path), now=later)) == []
    assert wire_files(tmp_path).certificate.read_bytes() != first
    wire_files(tmp_path).certificate.unlink()
    (said,) = prepare(settings(tmp_path, client_ca="/elsewhere/ca.pem"), now=NOW)
    assert "client-calejo-wire.pem" in said
    assert "READ_ONLY" in said
    (tmp_path / FOLDER / "ca-key.pem").unlink()
    (said,) = prepare(settings(tmp_path), now=NOW)
    assert "the authority's key is not here" in said
    wire_files(tmp_path).certificate.write_text("no certificate at all")
    (said,) = prepare(settings(tmp_path), now=NOW)
    assert "cannot ask Modbus/TLS" in said, "a tool's certificate keeps no plant from starting"
    assert tls_papers_of(tmp_path, "") is None


def test_ports_of_a_run_are_announced_as_they_are(tmp_path: Path) -> None:
    """MOD-1: `run.json` says which ports are served and whose certificate stands there."""
    given = msgspec.structs.replace(settings(tmp_path), ports=PortSettings(modbus_tls=5902))
    folder = DataDirectory(tmp_path)
    folder.acquire()
    try:
        folder.announce(given, started_at="2026-11-21T00:00:00+00:00", ray_address="", namespace="calejo")
        run = find_run(tmp_path)
        assert run is not None
        assert (run.modbus_plain, run.modbus_tls) == (False, 5902)
        assert run.modbus_certificate == str(tmp_path / FOLDER / "modbus.pem")
        assert urls_of(given).modbus_tls == "127.0.0.1:5902"
        assert urls_of(Settings(data_dir=str(tmp_path))).modbus_tls == ""
    finally:
        folder.release()
