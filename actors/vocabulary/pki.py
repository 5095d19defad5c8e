"""Certificates as they cross from the folder that keeps them to the endpoint that judges by them (OPC-4, SEC-4)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Protocol

import msgspec

from actors.vocabulary.access import UserRole

CERTIFICATE_BYTES_MAX: Final = 16_384
"""No certificate of an application or a user is longer; what claims to be is not looked at."""


class OwnCertificate(msgspec.Struct, frozen=True, kw_only=True):
    """What a server shows: its certificate (DER) and the private key to it (PEM, PKCS 8), which is never printed."""

    certificate: bytes
    private_key: bytes

    def __repr__(self) -> str:
        return f"OwnCertificate({len(self.certificate)} bytes)"


class UserCertificate(msgspec.Struct, frozen=True, kw_only=True):
    """Whom a certificate stands for; `name` is given by whoever trusted it, not by the certificate."""

    name: str
    role: UserRole


class Trust(msgspec.Struct, frozen=True, kw_only=True):
    """Who is trusted, certificate by certificate (DER): programs that may connect, and users with their role."""

    applications: frozenset[bytes] = frozenset()
    users: Mapping[bytes, UserCertificate] = {}


class Pki(Protocol):
    """Where certificates are kept. Every method waits for a disk: never call it in an event loop."""

    def own(self) -> OwnCertificate:
        """Return what the server shall show to new clients.

        Raises:
            DeviceError: it cannot be read, or its two files do not fit.

        """
        ...

    def trust(self) -> Trust:
        """Return who is trusted now; a file that is no certificate counts as absent.

        Raises:
            DeviceError: the folder cannot be read.

        """
        ...

    def keep_rejected(self, certificate: bytes, why: str) -> None:
        """Keep a certificate that was not trusted, for somebody to look at; the oldest go when there are too many.

        Raises:
            DeviceError: the disk refused.

        """
        ...
