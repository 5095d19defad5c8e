"""Certificates for the tests of OPC UA's security, a doorkeeper with two users, and a client to show them."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

from asyncua import Client, ua
from asyncua.crypto.security_policies import SecurityPolicyAes256Sha256RsaPss, SecurityPolicyBasic256Sha256
from asyncua.crypto.uacrypto import CertProperties
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

from actors.vocabulary import DeviceError, RefusedError
from actors.vocabulary.access import UserRole
from actors.vocabulary.callers import Caller, Shown
from actors.vocabulary.pki import OwnCertificate, Trust, UserCertificate
from protocols.opcua.admission import Rules
from protocols.opcua.certificates import APPLICATION_URI
from protocols.opcua.doorkeeper import Standing
from tests.wire.opcua.served import Publisher, served

CLIENT_URI = "urn:calejo-test:client"
SAFE = Rules(has_users=True)
POLICIES = (SecurityPolicyBasic256Sha256, SecurityPolicyAes256Sha256RsaPss)
MODES = (ua.MessageSecurityMode.Sign, ua.MessageSecurityMode.SignAndEncrypt)


class Paper:
    """A certificate and its key."""

    def __init__(self, certificate: x509.Certificate, key: Any) -> None:
        self.certificate, self.key = certificate, key
        self.der = certificate.public_bytes(serialization.Encoding.DER)
        self.key_pem = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )

    @property
    def own(self) -> OwnCertificate:
        return OwnCertificate(certificate=self.der, private_key=self.key_pem)


@functools.cache
def _key(name: str, bits: int) -> Any:
    # Short keys: the tests make many channels, and the server's code is the same for all lengths.
    if not bits:
        return ec.generate_private_key(ec.SECP256R1())
    return rsa.generate_private_key(public_exponent=65_537, key_size=bits)


@functools.cache
def paper(
    name: str,
    *,
    uri: str = CLIENT_URI,
    bits: int = 2_048,
    days: tuple[float, float] = (-1.0, 10.0),
    usage: bool | None = True,
    algorithm: Any = hashes.SHA256,
) -> Paper:
    """Make a certificate that signed itself; `days`: from when to when, counted from now; `bits` 0: an elliptic key."""
    key = _key(name, bits)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)  # noqa: TID251 - the endpoint judges by the same clock
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + timedelta(days=days[0]))
        .not_valid_after(now + timedelta(days=days[1]))
        .add_extension(x509.SubjectAlternativeName([x509.UniformResourceIdentifier(uri)]), critical=False)
    )
    if usage is not None:
        flags = dict.fromkeys(
            (
                "content_commitment",
                "key_agreement",
                "key_cert_sign",
                "crl_sign",
                "encipher_only",
                "decipher_only",
            ),
            False,
        )
        builder = builder.add_extension(
            x509.KeyUsage(digital_signature=usage, key_encipherment=True, data_encipherment=True, **flags),
            critical=True,
        )
    return Paper(builder.sign(key, algorithm()), key)


def server_paper(name: str = "server") -> Paper:
    return paper(name, uri=APPLICATION_URI)


class Cabinet:
    """A folder of certificates without a disk; what is changed here is taken up as from one."""

    def __init__(self, *trusted: Paper, users: Mapping[Paper, UserCertificate] | None = None) -> None:
        self.shown = server_paper()
        self.trusted = {each.der for each in trusted}
        self.users = {each.der: user for each, user in (users or {}).items()}
        self.rejected: list[tuple[bytes, str]] = []
        self.problem = ""

    def own(self) -> OwnCertificate:
        if self.problem:
            raise DeviceError(self.problem)
        return self.shown.own

    def trust(self) -> Trust:
        return Trust(applications=frozenset(self.trusted), users=dict(self.users))

    def keep_rejected(self, certificate: bytes, why: str) -> None:
        self.rejected.append((certificate, why))


class Users:
    """Anna is an operator, the PLC is FIELD, and whoever is not in `passwords` is nobody; `away`: the database is."""

    def __init__(self) -> None:
        self.passwords = {"anna": "correct horse", "reader": "battery staple", "plc": "level sensor"}
        self.roles = {"anna": UserRole.OPERATOR, "reader": UserRole.READ_ONLY, "plc": UserRole.FIELD}
        self.away = False
        self.told: list[tuple[str, str, str]] = []
        self._counts: Counter[tuple[str, str]] = Counter()

    async def by_password(self, name: str, password: str, *, peer: str) -> Caller:
        if self.away:
            raise DeviceError("the database is away")
        if self.passwords.get(name) != password:
            self.tell("LOGIN", actor=name, peer=peer, refused="wrong name or password")
            raise RefusedError("wrong name or password")
        return Caller(name=name, roles=frozenset({self.roles[name]}), how=Shown.PASSWORD)

    async def standing(self, caller: Caller) -> Standing:
        if self.away:
            return Standing.UNKNOWN
        return Standing.GOOD if caller.name in self.passwords else Standing.OVER

    def tell(self, event: str, *, actor: str, peer: str, refused: str = "", subject: str = "") -> None:
        self.told.append((event, actor, refused))
        self._counts[event, "refused" if refused else "success"] += 1

    @property
    def counts(self) -> Mapping[tuple[str, str], int]:
        return self._counts

    def reasons(self, event: str) -> list[str]:
        return [refused for name, _, refused in self.told if name == event and refused]


class Guarded:
    """A served endpoint with its certificates and users."""

    def __init__(self, publisher: Publisher, cabinet: Cabinet, users: Users) -> None:
        self.publisher, self.cabinet, self.users = publisher, cabinet, users


@asynccontextmanager
async def guarded(cabinet: Cabinet | None = None, *, rules: Rules = SAFE) -> AsyncIterator[Guarded]:
    """Serve with certificates and users; `client` is trusted unless a cabinet says otherwise."""
    cabinet, users = cabinet or Cabinet(paper("client")), Users()
    async with served(rules=rules, pki=cabinet, doorkeeper=users) as publisher:
        yield Guarded(publisher, cabinet, users)


async def client_of(
    one: Guarded,
    *,
    policy: Any = SecurityPolicyBasic256Sha256,
    mode: Any = ua.MessageSecurityMode.SignAndEncrypt,
    shown: Paper | None = None,
    server: Paper | None = None,
    uri: str = CLIENT_URI,
    user: str = "",
    password: str = "",
    user_paper: Paper | None = None,
) -> Client:
    """Return a client of asyncua's, not connected yet, with its papers in hand."""
    client = Client(one.publisher.endpoint.bound, timeout=10)
    client.application_uri = uri
    own = shown or paper("client")
    await client.set_security(
        policy,
        CertProperties(own.der, "der"),
        CertProperties(own.key_pem, "pem"),
        server_certificate=CertProperties((server or one.cabinet.shown).der, "der"),
        mode=mode,
    )
    client.application_uri = uri
    if user:
        client.set_user(user)
        client.set_password(password)
    if user_paper is not None:
        await client.load_client_certificate(user_paper.der, "der")  # type: ignore[arg-type]
        await client.load_private_key(user_paper.key_pem, None, "pem")
    return client
