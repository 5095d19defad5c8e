"""Certificates of a small plant for the wire tests, made by `calejo certs` and, where they must be wrong, by hand."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from actors.vocabulary.access import UserRole
from ops import certificates
from protocols.modbus.server import ModbusAccess
from protocols.modbus.tls import ROLE_OID, TlsFiles

NOW = datetime.now(UTC)  # noqa: TID251  (certificates are of this day)


class Pki:
    """A folder as `calejo certs init` leaves it, and clients."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        certificates.init(folder, hosts=[], now=NOW)

    @property
    def files(self) -> TlsFiles:
        return TlsFiles(
            certificate=self.folder / "modbus.pem",
            private_key=self.folder / "modbus-key.pem",
            client_ca=self.folder / "ca.pem",
        )

    @property
    def access(self) -> ModbusAccess:
        return ModbusAccess(tls=self.files)

    def client(self, name: str, role: UserRole) -> ssl.SSLContext:
        """A context of a client whose certificate `calejo certs client` made."""
        made, key = certificates.client(self.folder, name, role, now=NOW)
        return self.context(made, key)

    def by_hand(
        self, name: str, *, role: bytes | None, expired: bool = False, authority: Path | None = None
    ) -> ssl.SSLContext:
        """A client's context with what `calejo certs` would never make."""
        folder = authority or self.folder
        issuer = x509.load_pem_x509_certificate((folder / "ca.pem").read_bytes())
        issuer_key = serialization.load_pem_private_key((folder / "ca-key.pem").read_bytes(), password=None)
        assert isinstance(issuer_key, ec.EllipticCurvePrivateKey)
        key = ec.generate_private_key(ec.SECP256R1())
        ended = NOW - timedelta(days=1)
        builder = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
            .issuer_name(issuer.subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(NOW - timedelta(days=2))
            .not_valid_after(ended if expired else NOW + timedelta(days=2))
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        )
        if role is not None:
            extension = x509.UnrecognizedExtension(x509.ObjectIdentifier(ROLE_OID), role)
            builder = builder.add_extension(extension, critical=False)
        made, secret = self.folder / f"hand-{name}.pem", self.folder / f"hand-{name}-key.pem"
        certificate = builder.sign(issuer_key, hashes.SHA256())
        made.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        secret.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        return self.context(made, secret)

    def revoke(self, *names: str) -> Path:
        """Write the authority's list of what it revoked: these clients of `client`."""
        issuer = x509.load_pem_x509_certificate((self.folder / "ca.pem").read_bytes())
        issuer_key = serialization.load_pem_private_key(
            (self.folder / "ca-key.pem").read_bytes(), password=None
        )
        assert isinstance(issuer_key, ec.EllipticCurvePrivateKey)
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(issuer.subject)
            .last_update(NOW - timedelta(minutes=1))
            .next_update(NOW + timedelta(days=1))
        )
        for name in names:
            revoked = x509.load_pem_x509_certificate((self.folder / f"client-{name}.pem").read_bytes())
            entry = x509.RevokedCertificateBuilder().serial_number(revoked.serial_number)
            builder = builder.add_revoked_certificate(
                entry.revocation_date(NOW - timedelta(minutes=1)).build()
            )
        made = self.folder.parent / "clients.crl"
        crl = builder.sign(issuer_key, hashes.SHA256())
        made.write_bytes(crl.public_bytes(serialization.Encoding.PEM))
        return made

    def context(self, certificate: Path | None = None, key: Path | None = None) -> ssl.SSLContext:
        """A client's context; without a certificate it shows none."""
        context = ssl.create_default_context(cafile=str(self.folder / "ca.pem"))
        if certificate is not None:
            context.load_cert_chain(certificate, key)
        return context


def utf8(text: str) -> bytes:
    """A DER UTF8String."""
    return bytes([0x0C, len(text.encode())]) + text.encode()
