"""`/api/v1/certificates`: every certificate that the run watches, and how long it is good for (SEC-4, API-2)."""

from __future__ import annotations

from datetime import datetime
from typing import Final

import msgspec
from litestar import get
from litestar.datastructures import State

from actors.vocabulary.access import Operation
from api.access.guarding import needs
from api.handling import service_of
from storage.certificates import CertificateView, judged


class CertificateExpiry(msgspec.Struct, frozen=True, kw_only=True):
    """A certificate; `state` is `good`, or how urgent its expiry is; `days_left` below 0: it has expired."""

    name: str
    file: str
    subject: str
    issuer: str
    not_before: datetime
    not_after: datetime
    days_left: float
    sha256: str
    key_file_mode: str
    state: str


class Certificates(msgspec.Struct, frozen=True, kw_only=True):
    """The first to expire on top; `unreadable` says by name why others cannot be judged."""

    certificates: list[CertificateExpiry]
    unreadable: dict[str, str]


@get("/certificates", summary="Certificates and their expiry", opt=needs(Operation.MANAGE_CERTIFICATES))
async def certificates(state: State) -> Certificates:
    """Show what `calejo certs show` does; they are made and trusted where they stand, by `calejo certs`."""
    service = service_of(state)
    views, broken = await service.access.certificates.read(service.clock.now())
    return Certificates(certificates=[_expiry(each) for each in views], unreadable=broken)


def _expiry(view: CertificateView) -> CertificateExpiry:
    verdict = judged(view)
    return CertificateExpiry(
        **msgspec.structs.asdict(view), state="good" if verdict is None else verdict[0].value
    )


CERTIFICATE_HANDLERS: Final = [certificates]
