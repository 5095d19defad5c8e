"""What the kit's clients show of themselves where nobody is let in without."""

from __future__ import annotations

import msgspec


class Papers(msgspec.Struct, frozen=True, kw_only=True):
    """What an OPC UA client shows: its certificate and private key (PEM files), for the program and its user alike."""

    certificate: str
    private_key: str
    uri: str


class TlsPapers(msgspec.Struct, frozen=True, kw_only=True):
    """What a Modbus/TLS client shows (PEM files), and the one server certificate that it takes for ours."""

    certificate: str
    private_key: str
    server: str
