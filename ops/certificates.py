"""Makes certificates for development: an authority of one's own and what it signs for REST, OPC UA and Modbus (SEC-4).

In production an authority of the utility signs; its files are named in the settings or put into the same folder.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final, TypeAlias, assert_never

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from actors.vocabulary import DeviceError, InvalidValueError, RefusedError
from actors.vocabulary.access import UserRole
from storage.certificates import CA, CertificateFiles, Server, files_of, read
from storage.files import write_whole

AUTHORITY_DAYS: Final = 1825
# Browsers refuse what is valid for longer.
SERVER_DAYS: Final = 397
# What the OPC UA server names itself: the certificate must say the same.
APPLICATION_URI: Final = "urn:calejo:opcua:server"
# Modbus/TCP Security (MB-TCP-Security-v21, 2018), 8.4: the client's role stands in this extension as UTF-8 text.
MODBUS_ROLE: Final = x509.ObjectIdentifier("1.3.6.1.4.1.50316.802.1")
# A clock that is a little behind must not find a new certificate not yet valid.
_BACKDATED: Final = timedelta(minutes=10)
_RSA_BITS: Final = 3072
_NAME_MAX: Final = 64
_UTF8_STRING: Final = 0x0C
_SHORT_FORM_MAX: Final = 127

Key: TypeAlias = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


def init(folder: Path, *, hosts: Sequence[str], now: datetime) -> list[Path]:
    """Make an authority and one certificate per server in `folder`; return the files. Never overwrites.

    `hosts`: names and addresses under which the servers are reached, beside this machine's own and loopback.

    Raises:
        RefusedError: there are certificates or keys already; nothing is made.
        InvalidValueError: a host is neither a name nor an address.
        DeviceError: the disk refused.

    """
    wanted = [files_of(folder, name) for name in (CA, *Server)]
    for files in wanted:
        for path in (files.certificate, files.private_key):
            if path.exists():
                raise RefusedError(
                    f"{path} exists already: nothing was made (`calejo certs renew` replaces one)"
                )
    names = _host_names(hosts)
    authority_key: Key = ec.generate_private_key(ec.SECP256R1())
    authority = _authority(authority_key, now)
    made = _write(files_of(folder, CA), authority_key, [authority])
    for server in Server:
        made += _write(files_of(folder, server), *_server(server, names, authority, authority_key, now))
    return made


def renew(folder: Path, server: Server, *, hosts: Sequence[str], now: datetime) -> list[Path]:
    """Replace a server's key and certificate by new ones of the same authority; running servers take them up.

    Without `hosts` the names of the former certificate stay.

    Raises:
        DeviceError: the authority's files cannot be read, or the disk refused.
        InvalidValueError: a host is neither a name nor an address.

    """
    authority, authority_key = _the_authority(folder)
    files = files_of(folder, server)
    names = _host_names(hosts) if hosts or not files.certificate.exists() else _names_in(files.certificate)
    return _write(files, *_server(server, names, authority, authority_key, now), replace=True)


def self_made_opcua(files: CertificateFiles, *, uri: str = APPLICATION_URI, now: datetime) -> bool:
    """Make an OPC UA program's certificate, signed by itself, if there is none; return whether one was made.

    As OPC UA's servers do at their first start: clients pin it. One that `init` makes later takes its place.

    Raises:
        DeviceError: the disk refused.

    """
    if files.certificate.exists():
        return False
    key = _rsa()
    name = _named(f"Calejo {files.certificate.stem} of {socket.gethostname()[:30]}")
    builder = _builder(name, key, name, now, days=SERVER_DAYS)
    own = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    builder = (
        builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        # It signed itself: OPC 10000-6, 6.2.2 wants that said.
        .add_extension(_usage(digital_signature=True, rsa_usage=True, key_cert_sign=True), critical=True)
        .add_extension(
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]),
            critical=False,
        )
        .add_extension(own, critical=False)
        .add_extension(
            x509.SubjectAlternativeName([x509.UniformResourceIdentifier(uri), *_host_names(())]),
            critical=False,
        )
    )
    _write(files, key, [builder.sign(key, hashes.SHA256())], replace=True)
    return True


def client(folder: Path, name: str, role: UserRole, *, now: datetime) -> list[Path]:
    """Make a client's key and certificate with a role, for Modbus/TLS and OPC UA; return the files.

    Raises:
        InvalidValueError: the name cannot be a file's and a certificate's.
        RefusedError: there is one of that name.
        DeviceError: the authority's files cannot be read, or the disk refused.

    """
    plain = name.replace("-", "").replace("_", "")
    if not name.isascii() or not plain.isalnum() or len(name) > _NAME_MAX:
        raise InvalidValueError(
            f"name: {name[:_NAME_MAX]!r}, expected up to {_NAME_MAX} letters, digits, - and _"
        )
    if name in {CA, *Server}:
        raise InvalidValueError(f"name: {name!r} is a server's")
    files = files_of(folder, f"client-{name}")
    if files.certificate.exists() or files.private_key.exists():
        raise RefusedError(f"{files.certificate} exists already: nothing was made")
    authority, authority_key = _the_authority(folder)
    key = _rsa()
    builder = _builder(_named(name), key, authority.subject, now, days=SERVER_DAYS)
    builder = _leaf(builder, key, authority, [ExtendedKeyUsageOID.CLIENT_AUTH], rsa_usage=True)
    builder = builder.add_extension(
        x509.SubjectAlternativeName([x509.UniformResourceIdentifier(f"urn:calejo:client:{name}")]),
        critical=False,
    )
    builder = builder.add_extension(
        x509.UnrecognizedExtension(MODBUS_ROLE, _utf8(role.value)), critical=False
    )
    return _write(files, key, [builder.sign(authority_key, hashes.SHA256())])


def _authority(key: Key, now: datetime) -> x509.Certificate:
    name = _named(f"Calejo development authority of {socket.gethostname()[:30]}")
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _BACKDATED)
        .not_valid_after(now + timedelta(days=AUTHORITY_DAYS))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(key_cert_sign=True, crl_sign=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    return builder.sign(key, hashes.SHA256())


def _server(
    server: Server,
    names: list[x509.GeneralName],
    authority: x509.Certificate,
    authority_key: Key,
    now: datetime,
) -> tuple[Key, list[x509.Certificate]]:
    uses = [ExtendedKeyUsageOID.SERVER_AUTH]
    match server:
        case Server.OPCUA:
            # OPC UA's policies are RSA, and its certificates carry the application's URI (Part 6, 6.2.2).
            key: Key = _rsa()
            uses.append(ExtendedKeyUsageOID.CLIENT_AUTH)
            names = [x509.UniformResourceIdentifier(APPLICATION_URI), *names]
        case Server.REST | Server.MODBUS:
            key = ec.generate_private_key(ec.SECP256R1())
        case _:
            assert_never(server)
    builder = _builder(_named(f"Calejo {server}"), key, authority.subject, now, days=SERVER_DAYS)
    builder = _leaf(builder, key, authority, uses, rsa_usage=isinstance(key, rsa.RSAPrivateKey))
    builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return key, [builder.sign(authority_key, hashes.SHA256())]


def _builder(
    name: x509.Name, key: Key, issuer: x509.Name, now: datetime, *, days: int
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _BACKDATED)
        .not_valid_after(now + timedelta(days=days))
    )


def _leaf(
    builder: x509.CertificateBuilder,
    key: Key,
    authority: x509.Certificate,
    uses: list[x509.ObjectIdentifier],
    *,
    rsa_usage: bool,
) -> x509.CertificateBuilder:
    own = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    issuer = authority.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    return (
        builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(
            _usage(digital_signature=True, rsa_usage=rsa_usage),
            critical=True,
        )
        .add_extension(x509.ExtendedKeyUsage(uses), critical=False)
        .add_extension(own, critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(issuer), critical=False)
    )


def _usage(
    *,
    digital_signature: bool = False,
    rsa_usage: bool = False,
    key_cert_sign: bool = False,
    crl_sign: bool = False,
) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=digital_signature,
        content_commitment=rsa_usage,
        key_encipherment=rsa_usage,
        data_encipherment=rsa_usage,
        key_agreement=False,
        key_cert_sign=key_cert_sign,
        crl_sign=crl_sign,
        encipher_only=False,
        decipher_only=False,
    )


def _named(name: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Calejo"),
            x509.NameAttribute(NameOID.COMMON_NAME, name),
        ]
    )


def _rsa() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65_537, key_size=_RSA_BITS)


def _utf8(text: str) -> bytes:
    content = text.encode()
    assert len(content) <= _SHORT_FORM_MAX, "roles are short"
    return bytes([_UTF8_STRING, len(content)]) + content


def _host_names(hosts: Sequence[str]) -> list[x509.GeneralName]:
    return [
        _host(each) for each in dict.fromkeys(["localhost", "127.0.0.1", "::1", socket.gethostname(), *hosts])
    ]


def _host(text: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(text))
    except ValueError:
        pass
    labels = text.split(".")
    if not all(label and label.replace("-", "").isalnum() and label.isascii() for label in labels):
        raise InvalidValueError(f"host: {text[:100]!r}, expected a host name or an IP address")
    return x509.DNSName(text)


def _names_in(certificate: Path) -> list[x509.GeneralName]:
    try:
        found = read(certificate).extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return _host_names(())
    return [name for name in found if not isinstance(name, x509.UniformResourceIdentifier)]


def _the_authority(folder: Path) -> tuple[x509.Certificate, Key]:
    files = files_of(folder, CA)
    certificate = read(files.certificate)
    try:
        key = serialization.load_pem_private_key(files.private_key.read_bytes(), password=None)
    except OSError as error:
        raise DeviceError(
            f"{files.private_key}: {error.strerror} (only `calejo certs init` makes one)"
        ) from error
    except (ValueError, TypeError) as error:
        raise DeviceError(f"{files.private_key}: holds no unencrypted private key in PEM form") from error
    assert isinstance(key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey)
    return certificate, key


def _write(
    files: CertificateFiles, key: Key, chain: list[x509.Certificate], *, replace: bool = False
) -> list[Path]:
    """Write the key first: who reads the pair in between finds that they do not fit, and tries again.

    Raises:
        RefusedError: somebody else was quicker.
        DeviceError: the disk refused.

    """
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    public = b"".join(each.public_bytes(serialization.Encoding.PEM) for each in chain)
    for path, content in ((files.private_key, secret), (files.certificate, public)):
        if not write_whole(path, content, replace=replace):
            raise RefusedError(f"{path} exists already")
    return [files.certificate, files.private_key]
