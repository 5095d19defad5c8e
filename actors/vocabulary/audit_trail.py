"""What is known of the audit trail outside the database: checkpoints, keys, what a look at both found (AUD-1)."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum, unique
from typing import Any, Final

import msgspec

GENESIS: Final = "0" * 64
"""Stands where there is no predecessor: before the first record, the first checkpoint."""

SEARCH_MAX: Final = 1_000
"""Records in one page of a search."""


@unique
class Why(StrEnum):
    """Why a checkpoint was signed."""

    COUNT = "count"
    TIME = "time"
    ROTATION = "rotation"
    ASKED = "asked"


class Checkpoint(msgspec.Struct, frozen=True, kw_only=True):
    """`count` records ended in the hash `head` at `at`, says the key `key_id`; `previous`: its predecessor's digest."""

    format: str
    number: int
    at: str
    count: int
    head: str
    key_id: str
    previous: str
    reason: Why


class SignedCheckpoint(msgspec.Struct, frozen=True, kw_only=True):
    """One line of `checkpoints.jsonl`."""

    checkpoint: Checkpoint
    signature: str


class PublicKey(msgspec.Struct, frozen=True, kw_only=True):
    """A public key of the trail (Ed25519, raw, hex); all but the first are signed by the one before."""

    format: str
    number: int
    key_id: str
    public_key: str
    made_at: str
    previous_key_id: str


class SignedKey(msgspec.Struct, frozen=True, kw_only=True):
    """One line of `keys.jsonl`; the first key signs itself."""

    key: PublicKey
    signature: str


class Look(msgspec.Struct, frozen=True, kw_only=True):
    """What one look at the trail found and did: texts are '' when all is well.

    `oldest_at`: when the first record happened that an archive could take (the last one never is), as it is hashed.
    """

    key_made: str = ""
    signed: Checkpoint | None = None
    broken: str = ""
    not_kept_elsewhere: str = ""
    oldest_at: str = ""


class AuditQuery(msgspec.Struct, frozen=True, kw_only=True):
    """What to search for; empty means any. Newest first; `before` is the sequence that the last page ended with."""

    event_types: tuple[str, ...] = ()
    actor: str = ""
    source_address: str = ""
    object_id: str = ""
    outcome: str = ""
    severities: tuple[str, ...] = ()
    correlation_id: str = ""
    text: str = ""
    since: datetime | None = None
    until: datetime | None = None
    before: int | None = None
    limit: int = 100


class AuditPage(msgspec.Struct, frozen=True, kw_only=True):
    """Records of a search, newest first; `next_before` None: there are no more."""

    records: tuple[Mapping[str, Any], ...]
    next_before: int | None


class AuditWindow(msgspec.Struct, frozen=True, kw_only=True):
    """What verifying a window of the trail found: records `first` to `count` hold, but for what is said.

    `next_after` None: the trail ends here, and has been held against every checkpoint of this machine behind `first`.
    `archived`: records 1 to this one were archived and not seen here; who asked for them is not told that they hold.
    """

    holds: bool
    first: int
    count: int
    head: str
    total: int
    broken_at: int | None
    reason: str
    complaints: tuple[str, ...]
    checkpoints_met: int
    next_after: int | None
    archived: int = 0
