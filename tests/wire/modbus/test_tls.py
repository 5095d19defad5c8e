"""Modbus/TCP Security: mutual TLS, roles in certificates, replaced certificates, unfinished handshakes."""

from __future__ import annotations

import asyncio
import os
import shutil
import ssl
import time
from pathlib import Path

import msgspec
import pytest

from actors.vocabulary import DeviceError, WriteRefusal
from actors.vocabulary.access import UserRole
from actors.vocabulary.callers import Shown
from ops import certificates
from protocols.modbus import server
from protocols.modbus.limits import ModbusLimits
from protocols.modbus.server import ModbusAccess
from protocols.modbus.tls import TlsFiles
from storage.certificates import Server
from tests.wire.modbus.certificates import NOW, Pki, utf8
from tests.wire.modbus.served import Publisher, Raw, frame, pdu, served, until


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    return Pki(tmp_path_factory.mktemp("certs"))


async def refused(publisher: Publisher, context: ssl.SSLContext) -> None:
    """See that a client does not get one answer."""

    async def asked() -> None:
        client = await Raw.connect_tls(publisher, context)
        try:
            # TLS 1.3: the client is done before the server has looked at its certificate.
            await client.ask(pdu(3, 0, 1))
        finally:
            client.writer.transport.abort()

    with pytest.raises((ssl.SSLError, ConnectionError, asyncio.IncompleteReadError)):
        await asked()


def test_a_role_in_a_certificate_is_what_the_table_says(pki: Pki) -> None:
    """SEC-2, MOD-1: a controller reports, an operator stops, and neither does the other's; audited by name."""

    async def story() -> None:
        async with served(access=pki.access) as publisher:
            plc = await Raw.connect_tls(publisher, pki.client("plc-7", UserRole.FIELD))
            scada = await Raw.connect_tls(publisher, pki.client("scada", UserRole.OPERATOR))
            assert await plc.ask(pdu(6, 121, 7)) == pdu(6, 121, 7)
            assert await plc.ask(pdu(5, 0, 0xFF00)) == b"\x85\x01"
            assert await scada.ask(pdu(6, 121, 8)) == b"\x86\x01"
            assert await scada.ask(pdu(5, 0, 0xFF00)) == pdu(5, 0, 0xFF00)
            assert await plc.ask(pdu(3, 121, 1)) == b"\x03\x02\0\7"
            written = [write for request in publisher.requests for write in request]
            assert [
                (write.path, None if write.caller is None else write.caller.name) for write in written
            ] == [
                ("/north/s1/p1/plc_heartbeat", "certificate:plc-7"),
                ("/north/s1/emergency_stop", "certificate:scada"),
            ]
            assert {write.caller.how for write in written if write.caller} == {Shown.CERTIFICATE}
            assert [write.refusal for write in publisher.refused] == [WriteRefusal.NOT_PERMITTED] * 2
            assert "certificate:plc-7 as FIELD" in publisher.events("connected")
            for client in (plc, scada):
                await client.close()

    asyncio.run(story())


@pytest.mark.parametrize(
    ("role", "remark"),
    [
        (None, "no role"), (utf8("ROOT"), "'ROOT'"), (b"\x13\x05FIELD", "''"), (b"\x0c\x7fFIELD", "''"),
        (b"", "''"), (b"\x0c\x02\xff\xfe", "''"),
    ],
)  # fmt: skip
def test_a_certificate_without_a_role_of_ours_may_do_nothing(
    pki: Pki, role: bytes | None, remark: str
) -> None:
    """SEC-2: Modbus/TCP Security has such a client answered 01, whatever it asks; it is told and audited."""

    async def story() -> None:
        async with served(access=pki.access) as publisher:
            nobody = await Raw.connect_tls(publisher, pki.by_hand("nobody", role=role))
            assert await nobody.ask(pdu(3, 100, 1)) == b"\x83\x01"
            assert await nobody.ask(pdu(1, 0, 1)) == b"\x81\x01"
            assert await nobody.ask(pdu(6, 121, 1)) == b"\x86\x01"
            assert await nobody.ask(pdu(5, 0, 0xFF00)) == b"\x85\x01"
            assert await nobody.ask(pdu(23, 100, 1, 121, 1, data=b"\0\1")) == b"\x97\x01"
            assert publisher.requests == []
            (told,) = publisher.events("certificate_rejected")
            assert remark in told
            await nobody.close()

    asyncio.run(story())


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")  # an old client is what is wanted
def test_wrong_expired_and_omitted_certificates_and_old_tls_get_nothing(pki: Pki, tmp_path: Path) -> None:
    """SEC-4: no answer, nothing changed, and told as what it is; a good client is served beside them."""

    async def story() -> None:
        async with served(access=pki.access) as publisher:
            good = await Raw.connect_tls(publisher, pki.client("good", UserRole.READ_ONLY))
            elsewhere = Pki(tmp_path / "other")
            wrong = elsewhere.client("stranger", UserRole.ADMINISTRATOR)
            wrong.load_verify_locations(pki.folder / "ca.pem")
            for number, (context, words) in enumerate(
                [
                    (wrong, "self-signed certificate in certificate chain"),
                    (pki.by_hand("old", role=utf8("FIELD"), expired=True), "expired"),
                    (pki.context(), "PEER_DID_NOT_RETURN_A_CERTIFICATE"),
                ],
                1,
            ):
                await refused(publisher, context)
                await until(
                    lambda number=number: len(publisher.events("certificate_rejected")) == number,
                    what=f"{words} is told",
                )
                assert words in publisher.events("certificate_rejected")[-1]
            weak = pki.client("weak", UserRole.FIELD)
            weak.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
            weak.maximum_version = ssl.TLSVersion.TLSv1_1
            weak.set_ciphers("ALL:@SECLEVEL=0")
            await refused(publisher, weak)
            cbc = pki.client("cbc", UserRole.FIELD)
            cbc.maximum_version = ssl.TLSVersion.TLSv1_2
            cbc.set_ciphers("AES128-SHA256:ECDHE-RSA-AES128-SHA")
            await refused(publisher, cbc)
            plain = Raw(*await asyncio.open_connection("127.0.0.1", tls_port(publisher)))
            plain.writer.write(frame(1, 1, pdu(5, 0, 0xFF00)))
            assert await plain.ended() in (b"", b"\x15\x03\x01\x00\x02\x02\x46")
            assert publisher.requests == []
            assert await good.ask(pdu(3, 0, 1)) == b"\x03\x02\0\0"
            assert publisher.endpoint.clients == 1
            await until(lambda: not publisher.endpoint._door.shaking, what="no handshake is left")
            listener = publisher.endpoint._listeners[-1]
            await until(
                lambda: len(listener.active_connections) == 1, what="pymodbus holds the good one alone"
            )
            for client in (good, plain):
                await client.close()

    asyncio.run(story())


def tls_port(publisher: Publisher) -> int:
    return int(publisher.endpoint.bound_tls.rpartition(":")[2])


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_pipelines_and_split_frames_over_tls(pki: Pki, version: ssl.TLSVersion) -> None:
    """MOD-3, SEC-4: the stream inside TLS is as any other: frames in any pieces, answers in order."""

    async def story() -> None:
        context = pki.client(f"plc-{version.name}", UserRole.FIELD)
        context.minimum_version = context.maximum_version = version
        async with served(
            ModbusLimits(requests_burst=10_000, pool_burst=10_000), access=pki.access
        ) as publisher:
            client = await Raw.connect_tls(publisher, context)
            for byte in frame(5, 1, pdu(3, 0, 1)):
                client.writer.write(bytes([byte]))
                await client.writer.drain()
            assert await client.answer() == (5, 1, b"\x03\x02\0\0")
            client.writer.write(b"".join(frame(tid, 1, pdu(3, 100, 100)) for tid in range(2000)))
            for tid in range(2000):
                answered, _, answer = await client.answer()
                assert (answered, len(answer)) == (tid, 202)
            await client.close()
            await until(lambda: publisher.endpoint.clients == 0, what="it has left")

    asyncio.run(story())


def test_half_open_handshakes_keep_nobody_out_and_end(pki: Pki) -> None:
    """SEC-4: crowds that never finish a handshake, of one address and of many, are bounded and go; a PLC gets in."""

    async def story() -> None:
        limits = ModbusLimits(
            handshakes_max=8, handshakes_per_address_max=3, handshake_s=0.5, connects_burst=200, loopback_exempt=False
        )  # fmt: skip
        async with served(limits, access=pki.access) as publisher:
            door = publisher.endpoint._door
            silent = []
            for number in range(60):
                source = f"127.0.1.{number // 6 + 1}"
                opened = await asyncio.open_connection(
                    "127.0.0.1", tls_port(publisher), local_addr=(source, 0)
                )
                silent.append(Raw(*opened))
                if number % 3:
                    silent[-1].writer.write(b"\x16\x03\x01\x02\x00\x01\x00"[: number % 7])
                assert door.shaking <= 8
            plc = await Raw.connect_tls(publisher, pki.client("plc-in-a-crowd", UserRole.FIELD))
            assert await plc.ask(pdu(3, 0, 1)) == b"\x03\x02\0\0"
            await until(lambda: door.shaking == 0, what="unfinished handshakes end by themselves")
            assert publisher.endpoint.told["refused"] == 60
            assert await plc.ask(pdu(3, 0, 1)) == b"\x03\x02\0\0"
            listener = publisher.endpoint._listeners[-1]
            await until(lambda: len(listener.active_connections) == 1, what="pymodbus holds the PLC alone")
            for client in (*silent, plc):
                await client.close()

    asyncio.run(story())


def test_closing_ends_handshakes_at_once(pki: Pki) -> None:
    """SUP-2: an endpoint that is stopped does not wait for clients that never finish."""

    async def story() -> None:
        async with served(ModbusLimits(handshake_s=60.0), access=pki.access) as publisher:
            silent = Raw(*await asyncio.open_connection("127.0.0.1", tls_port(publisher)))
            await until(lambda: publisher.endpoint._door.shaking == 1, what="it shakes hands")
            began_s = asyncio.get_running_loop().time()
            await publisher.endpoint.close()
            assert asyncio.get_running_loop().time() - began_s < 5.0
            assert await silent.ended() == b""
            await silent.close()

    asyncio.run(story())


def test_a_replaced_certificate_is_shown_without_a_restart(
    pki: Pki, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SEC-4: new connections see the new one, those that stand go on; a pair that does not fit changes nothing."""
    monkeypatch.setattr(server, "CERTIFICATES_LOOK_S", 0.05)
    folder = tmp_path / "certs"
    shutil.copytree(pki.folder, folder)
    own = Pki.__new__(Pki)
    own.folder = folder

    async def shown(publisher: Publisher, context: ssl.SSLContext) -> bytes:
        client = await Raw.connect_tls(publisher, context)
        certificate = client.writer.get_extra_info("ssl_object").getpeercert(True)
        assert await client.ask(pdu(3, 0, 1)) == b"\x03\x02\0\0"
        await client.close()
        assert isinstance(certificate, bytes)
        return certificate

    async def story() -> None:
        context = own.client("watcher", UserRole.READ_ONLY)
        async with served(access=own.access) as publisher:
            standing = await Raw.connect_tls(publisher, context)
            before = await shown(publisher, context)
            key = (folder / "modbus-key.pem").read_bytes()
            (folder / "modbus-key.pem").write_bytes((folder / "rest-key.pem").read_bytes())
            await until(lambda: publisher.events("certificate_unusable"), what="the misfit is told")
            assert await shown(publisher, context) == before
            (folder / "modbus-key.pem").write_bytes(key)
            await until(lambda: publisher.events("certificate_replaced"), what="the pair fits again")
            certificates.renew(folder, Server.MODBUS, hosts=[], now=NOW)
            await until(
                lambda: len(publisher.events("certificate_replaced")) == 2, what="the new one is taken up"
            )
            assert await shown(publisher, context) != before
            assert await standing.ask(pdu(3, 0, 1)) == b"\x03\x02\0\0", "a connection that stands is not cut"
            other = Pki(tmp_path / "new-authority")
            (folder / "ca.pem").write_bytes((other.folder / "ca.pem").read_bytes())
            os.utime(folder / "ca.pem")
            assert await standing.ended() == b"", "who was trusted by the former authority has to come again"
            await refused(publisher, context)
            await standing.close()

    asyncio.run(story())


def test_a_revoked_certificate_is_let_in_no_longer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SEC-4: a lost controller's certificate ends with the next list, also for the connection that stands."""
    monkeypatch.setattr(server, "CERTIFICATES_LOOK_S", 0.05)
    pki = Pki(tmp_path / "certs")

    async def story() -> None:
        lost, kept = pki.client("lost", UserRole.FIELD), pki.client("kept", UserRole.FIELD)
        files = msgspec.structs.replace(pki.files, client_crl=pki.revoke())
        async with served(access=ModbusAccess(tls=files)) as publisher:
            client = await Raw.connect_tls(publisher, lost)
            assert await client.ask(pdu(3, 0, 1)) == b"\x03\x02\0\0"
            pki.revoke("lost")
            assert await client.ended() == b""
            await refused(publisher, lost)
            assert "revoked" in publisher.events("certificate_rejected")[-1]
            again = await Raw.connect_tls(publisher, kept)
            assert await again.ask(pdu(3, 0, 1)) == b"\x03\x02\0\0"
            for each in (client, again):
                await each.close()

    asyncio.run(story())


def test_a_client_does_not_outlive_its_certificate(pki: Pki) -> None:
    """SEC-4: what arrived whole is answered, then it goes; one whose certificate is good stays."""

    async def story() -> None:
        async with served(access=pki.access) as publisher:
            short = await Raw.connect_tls(publisher, pki.by_hand("short", role=utf8("FIELD")))
            long = await Raw.connect_tls(publisher, pki.client("long", UserRole.FIELD))
            assert await short.ask(pdu(3, 0, 1)) == await long.ask(pdu(3, 0, 1)) == b"\x03\x02\0\0"
            publisher.endpoint._utc_ns = lambda: time.time_ns() + 3 * 86_400 * 10**9
            assert await short.ended() == b""
            assert publisher.events("certificate_rejected") == ["its certificate has expired"]
            assert await long.ask(pdu(3, 0, 1)) == b"\x03\x02\0\0"
            assert "its certificate has expired" in publisher.events("disconnected")
            for client in (short, long):
                await client.close()

    asyncio.run(story())


def test_who_never_reads_its_answers_is_dropped_over_tls_too(pki: Pki) -> None:
    """MOD-4: what TLS still holds back counts as well: answers nobody takes do not pile up."""
    limits = ModbusLimits(requests_per_s=1e6, requests_burst=10**6, pool_per_s=1e6, pool_burst=10**6)

    async def story() -> None:
        async with served(limits, access=pki.access) as publisher:
            client = await Raw.connect_tls(publisher, pki.client("deaf", UserRole.READ_ONLY))
            client.writer.transport.pause_reading()  # type: ignore[attr-defined] # a stream's transport can
            request = frame(1, 1, pdu(3, 100, 100)) * 100
            for _ in range(1000):
                if not publisher.endpoint.clients:
                    break
                client.writer.write(request)
                await asyncio.sleep(0.001)
            assert publisher.events("disconnected") == ["does not read its answers"]
            client.writer.transport.abort()

    asyncio.run(story())


def test_files_that_cannot_serve_are_named_at_the_start(pki: Pki, tmp_path: Path) -> None:
    """SEC-4: a typed error names what is missing, and nothing listens."""
    files = TlsFiles(
        certificate=pki.folder / "modbus.pem",
        private_key=tmp_path / "none.pem",
        client_ca=pki.folder / "ca.pem",
    )

    async def story() -> None:
        with pytest.raises(DeviceError, match=r"none\.pem"):
            async with served(access=ModbusAccess(tls=files, plain=False)):
                pytest.fail("served without a key")

    asyncio.run(story())


def test_without_certificates_the_plain_wire_is_served_and_tls_as_soon_as_they_are_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SEC-4, SUP-8: an endpoint restarted beside a lost key costs no controller its wire; it says so till then."""
    monkeypatch.setattr(server, "CERTIFICATES_LOOK_S", 0.05)
    pki = Pki(tmp_path / "certs")
    context = pki.client("plc", UserRole.FIELD)
    (tmp_path / "certs" / "modbus-key.pem").rename(tmp_path / "lost")

    async def story() -> None:
        async with served(access=pki.access) as publisher:
            plain = await Raw.connect(publisher)
            assert await plain.ask(pdu(3, 0, 1)) == b"\x03\x02\0\0"
            await until(lambda: publisher.events("certificate_unusable"), what="it is told")
            assert publisher.endpoint.bound_tls == ""
            (tmp_path / "lost").rename(tmp_path / "certs" / "modbus-key.pem")
            await until(lambda: publisher.endpoint.bound_tls, what="TLS is served")
            await until(lambda: publisher.events("certificate_replaced"), what="the alarm may end")
            assert len(publisher.events("certificate_unusable")) == 1
            secured = await Raw.connect_tls(publisher, context)
            assert await secured.ask(pdu(3, 0, 1)) == b"\x03\x02\0\0"
            for client in (plain, secured):
                await client.close()

    asyncio.run(story())


def test_tls_alone_binds_no_plain_port(pki: Pki) -> None:
    """MOD-1: with `plain` off there is no way in without a certificate, and any address may be bound."""

    async def story() -> None:
        access = ModbusAccess(plain=False, tls=pki.files)
        async with served(access=access, host="0.0.0.0") as publisher:
            assert publisher.endpoint.bound == publisher.endpoint.bound_tls != ""
            assert len(publisher.endpoint._listeners) == 1
            client = await Raw.connect_tls(publisher, pki.client("alone", UserRole.FIELD))
            assert await client.ask(pdu(3, 0, 1)) == b"\x03\x02\0\0"
            await client.close()

    asyncio.run(story())
