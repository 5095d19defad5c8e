"""What the kit's OPC UA client shows of itself where nobody is let in without."""

from __future__ import annotations

import msgspec


class Papers(msgspec.Struct, frozen=True, kw_only=True):
    """What an OPC UA client shows: its certificate and private key (PEM files), for the program and its user alike."""

    certificate: str
    private_key: str
    uri: str
