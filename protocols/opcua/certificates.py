"""Whether a client's certificate is good enough, and for what; decides by the trust list, the time and the certificate.

The order of OPC 10000-4, 6.1.3. Trust is by the very certificate (pinned), so a chain is never built: whatever else
comes after the first certificate is not looked at. Who is not trusted learns no more than BadSecurityChecksFailed.
"""

from __future__ import annotations

import hashlib
from datetime import datetime
from typing import Final

from asyncua import ua
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from actors.vocabulary.pki import CERTIFICATE_BYTES_MAX, OwnCertificate, Trust, UserCertificate

# OPC 10000-7: both policies take RSA keys of this length, and certificates signed with SHA-2.
KEY_BITS_MIN: Final = 2_048
KEY_BITS_MAX: Final = 4_096
APPLICATION_URI: Final = "urn:calejo:opcua:server"
_HASHES: Final = (hashes.SHA256, hashes.SHA384, hashes.SHA512)
_SEQUENCE: Final = 0x30
_LONG_FORM: Final = 0x80
_LENGTH_BYTES_MAX: Final = 3
_SHOWN_DIGITS: Final = 16


class Rejected(Exception):
    """A certificate is not taken: the status code for the client, and the reason for the audit trail."""

    def __init__(self, code: int, why: str, certificate: bytes = b"") -> None:
        super().__init__(code, why, certificate)
        self.code = code
        self.why = why
        # Not trusted, but one that somebody may want to look at.
        self.certificate = certificate


def first_of(chain: bytes) -> bytes:
    """Return the first certificate of a chain in DER form, judged by its length alone; b'' if there is none."""
    if len(chain) < 2 or chain[0] != _SEQUENCE:  # noqa: PLR2004 - a tag and a length
        return b""
    length, start = chain[1], 2
    if length >= _LONG_FORM:
        count = length - _LONG_FORM
        if not 0 < count <= _LENGTH_BYTES_MAX:
            return b""
        length, start = int.from_bytes(chain[2 : 2 + count], "big"), 2 + count
    end = start + length
    return chain[:end] if end <= len(chain) else b""


def judge_application(chain: bytes, trust: Trust, *, now: datetime) -> x509.Certificate:
    """Return the certificate of a program that may open a channel.

    Raises:
        Rejected: it is none, not trusted, too weak, out of its time, or for something else.

    """
    der = first_of(chain[:CERTIFICATE_BYTES_MAX])
    certificate = _parsed(der)
    if der not in trust.applications:
        raise Rejected(ua.StatusCodes.BadSecurityChecksFailed, f"not trusted: {name_of(der)}", der)
    _judge(certificate, der, now=now)
    return certificate


def judge_user(chain: bytes, trust: Trust, *, now: datetime) -> tuple[x509.Certificate, UserCertificate]:
    """Return the certificate of a user, and whom it stands for.

    Raises:
        Rejected: as above.

    """
    der = first_of(chain[:CERTIFICATE_BYTES_MAX])
    certificate = _parsed(der)
    user = trust.users.get(der)
    if user is None:
        raise Rejected(ua.StatusCodes.BadIdentityTokenRejected, f"no user's: {name_of(der)}", der)
    _judge(certificate, der, now=now)
    return certificate, user


def in_its_time(der: bytes, *, now: datetime) -> bool:
    """Say whether a certificate that was good when it came is still in its time."""
    certificate = x509.load_der_x509_certificate(der)
    return certificate.not_valid_before_utc <= now <= certificate.not_valid_after_utc


def judge_uri(certificate: x509.Certificate, uri: str) -> None:
    """Return if a program calls itself what its certificate says (OPC 10000-6, 6.2.2).

    Raises:
        Rejected: it does not.

    """
    if not uri or uri not in _uris(certificate):
        raise Rejected(ua.StatusCodes.BadCertificateUriInvalid, f"application URI {uri[:80]!r} is not in it")


def application_uri(own: OwnCertificate | None) -> str:
    """Return what our server calls itself: as its certificate says, or clients would refuse it."""
    if own is None:
        return APPLICATION_URI
    uris = _uris(x509.load_der_x509_certificate(own.certificate))
    return uris[0] if uris else APPLICATION_URI


def name_of(der: bytes) -> str:
    """Return how a certificate is named in texts: by its hash, since it calls itself what it likes."""
    return f"certificate {hashlib.sha256(der).hexdigest()[:_SHOWN_DIGITS]}"


def der_of(certificate: x509.Certificate) -> bytes:
    """Return a certificate's bytes."""
    return certificate.public_bytes(serialization.Encoding.DER)


def _uris(certificate: x509.Certificate) -> list[str]:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, ValueError):
        return []
    return list(names.get_values_for_type(x509.UniformResourceIdentifier))


def _parsed(der: bytes) -> x509.Certificate:
    try:
        certificate = x509.load_der_x509_certificate(der)
        # Each is parsed only when it is asked for, and may be nonsense.
        key, _, _ = certificate.public_key(), certificate.extensions, certificate.signature_hash_algorithm
    except Exception as error:  # the parser raises what the client's bytes make it
        raise Rejected(ua.StatusCodes.BadCertificateInvalid, "is none") from error
    if not isinstance(key, rsa.RSAPublicKey):
        raise Rejected(ua.StatusCodes.BadCertificatePolicyCheckFailed, f"no RSA key: {name_of(der)}")
    return certificate


def _judge(certificate: x509.Certificate, der: bytes, *, now: datetime) -> None:
    key = certificate.public_key()
    assert isinstance(key, rsa.RSAPublicKey), "_parsed has seen to it"
    weak = not KEY_BITS_MIN <= key.key_size <= KEY_BITS_MAX
    if weak or not isinstance(certificate.signature_hash_algorithm, _HASHES):
        raise Rejected(
            ua.StatusCodes.BadCertificatePolicyCheckFailed, f"too weak for the policy: {name_of(der)}"
        )
    if now < certificate.not_valid_before_utc:
        raise Rejected(ua.StatusCodes.BadCertificateTimeInvalid, f"not valid yet: {name_of(der)}")
    if now > certificate.not_valid_after_utc:
        raise Rejected(ua.StatusCodes.BadCertificateTimeInvalid, f"expired: {name_of(der)}")
    try:
        usage = certificate.extensions.get_extension_for_class(x509.KeyUsage).value
    except x509.ExtensionNotFound:
        return  # OPC 10000-6 asks for it; self-made ones of older programs have none, and this one was pinned
    if not usage.digital_signature:
        raise Rejected(ua.StatusCodes.BadCertificateUseNotAllowed, f"not for signing: {name_of(der)}")
