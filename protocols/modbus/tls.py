"""Modbus/TCP Security: mutual TLS, and the role that a client's certificate carries (SEC-4).

Source: MODBUS/TCP Security Protocol Specification, MB-TCP-Security-v21 (2018): TLS 1.2 or newer, both sides show
X.509v3 certificates, the role stands as UTF8String in an extension of the client's. Of its cipher suites we offer those
with forward secrecy and authenticated encryption.
"""

from __future__ import annotations

import ssl
from enum import StrEnum, unique
from pathlib import Path
from typing import Final

import msgspec
from cryptography import x509
from cryptography.x509.oid import NameOID

from actors.vocabulary import DeviceError
from actors.vocabulary.access import UserRole
from actors.vocabulary.callers import Caller, Shown
from protocols.modbus.clients import role_named

ROLE_OID: Final = "1.3.6.1.4.1.50316.802.1"
# OWASP ASVS 5.0, 12.1.2; TLS 1.3 has its own suites, all of them good.
CIPHERS: Final = "ECDHE+AESGCM:ECDHE+CHACHA20"
_ROLE: Final = x509.ObjectIdentifier(ROLE_OID)
_UTF8_STRING: Final = 0x0C
_LONG_FORM: Final = 0x80
_NAME_MAX: Final = 64


class TlsFiles(msgspec.Struct, frozen=True, kw_only=True):
    """PEM files: ours, the authorities of clients, and what those revoked (None: nothing is looked up)."""

    certificate: Path
    private_key: Path
    client_ca: Path
    client_crl: Path | None = None

    def all(self) -> tuple[Path, ...]:
        """Return every file."""
        crl = () if self.client_crl is None else (self.client_crl,)
        return (self.certificate, self.private_key, self.client_ca, *crl)


@unique
class Change(StrEnum):
    """What is new since the last look."""

    NOTHING = "nothing"
    CERTIFICATE = "certificate"
    TRUST = "trust"


class ModbusTls:
    """The context of the next handshake; `look` makes a new one of files that were replaced. Both read the disk."""

    def __init__(self, files: TlsFiles) -> None:
        """Load them.

        Raises:
            DeviceError: they cannot be read, or do not fit.

        """
        self._files = files
        self._own, self._trust = self._stat()
        self.context = self._loaded()

    def look(self) -> Change:
        """Load what changed; return what did: clients that were let in by former trust have to show it again.

        Raises:
            DeviceError: the files cannot be read or do not fit (yet); what was loaded goes on to be used.

        """
        own, trust = self._stat()
        if (own, trust) == (self._own, self._trust):
            return Change.NOTHING
        context = self._loaded()
        change = Change.CERTIFICATE if trust == self._trust else Change.TRUST
        self.context, self._own, self._trust = context, own, trust
        return change

    def _loaded(self) -> ssl.SSLContext:
        files = self._files
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_ciphers(CIPHERS)
        # A session that is taken up again shows no certificate, so none is: each client is looked at each time.
        context.options |= ssl.OP_NO_TICKET | ssl.OP_NO_RENEGOTIATION
        context.num_tickets = 0
        context.verify_mode = ssl.CERT_REQUIRED
        reading = files.certificate
        try:
            context.load_cert_chain(files.certificate, files.private_key)
            reading = files.client_ca
            context.load_verify_locations(files.client_ca)
            if files.client_crl is not None:
                reading = files.client_crl
                context.load_verify_locations(files.client_crl)
                context.verify_flags |= ssl.VERIFY_CRL_CHECK_LEAF
        except (OSError, ssl.SSLError) as error:
            # The library's own text may name no file.
            key = f" with {files.private_key}" if reading == files.certificate else ""
            raise DeviceError(
                f"modbus.tls: {reading}{key}: {error.strerror or error} (`calejo certs init` makes some for"
                " development)"
            ) from error
        return context

    def _stat(self) -> tuple[object, object]:
        try:
            found = [(each.stat().st_mtime_ns, each.stat().st_ino) for each in self._files.all()]
        except OSError as error:
            raise DeviceError(f"modbus.tls: {error.filename}: {error.strerror}") from error
        return found[:2], found[2:]


def caller_of(certificate: bytes) -> tuple[Caller, str]:
    """Return who shows this certificate (DER), and what is wrong with its role ('' nothing).

    A certificate without a role, or with one that we do not know, gives a caller that may do nothing: its requests are
    answered 01, as the specification has it.

    Raises:
        ValueError: this is no certificate that can be read.

    """
    read = x509.load_der_x509_certificate(certificate)
    names = read.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    name = str(names[0].value)[:_NAME_MAX] if names else f"serial {read.serial_number:x}"
    name = "".join(letter if letter.isprintable() else "?" for letter in name)
    try:
        found = read.extensions.get_extension_for_oid(_ROLE).value
    except x509.ExtensionNotFound:
        return _certified(name, None), "its certificate carries no role"
    assert isinstance(found, x509.UnrecognizedExtension), "this extension is not the library's"
    text = _utf8(found.value)
    role = None if text is None else role_named(text)
    if role is None:
        return _certified(name, None), f"its certificate's role is {(text or '')[:_NAME_MAX]!r}"
    return _certified(name, role), ""


def expires_utc_s(certificate: bytes) -> float:
    """Return when a certificate (DER) ends, in s since 1970 UTC.

    Raises:
        ValueError: this is no certificate that can be read.

    """
    return x509.load_der_x509_certificate(certificate).not_valid_after_utc.timestamp()


def _certified(name: str, role: UserRole | None) -> Caller:
    roles = frozenset() if role is None else frozenset({role})
    return Caller(name=f"certificate:{name}", roles=roles, how=Shown.CERTIFICATE)


def _utf8(encoded: bytes) -> str | None:
    """Return the text of a DER UTF8String of fewer than 128 bytes; None: it is none."""
    tag, length, content = encoded[:1], encoded[1:2], encoded[2:]
    if tag != bytes([_UTF8_STRING]) or not length or length[0] >= _LONG_FORM or length[0] != len(content):
        return None
    try:
        return content.decode()
    except UnicodeDecodeError:
        return None
