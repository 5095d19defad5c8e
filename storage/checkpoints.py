"""Signs what the chain has come to, keeps it here and elsewhere, and says when the trail does not continue it (AUD-1).

A checkpoint is signed only after every record since the one before was verified, so that nobody has a signature
over records that were changed in between.
"""

from __future__ import annotations

import asyncio
import hashlib
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, NamedTuple

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from actors.vocabulary import DeviceError
from actors.vocabulary.audit_trail import (
    GENESIS,
    Checkpoint,
    Look,
    PublicKey,
    SignedCheckpoint,
    SignedKey,
    Why,
)
from storage.audit import utc_text
from storage.audit_keys import (
    KEYS_FILE,
    KeyFolder,
    append_line,
    chained,
    entries,
    is_signed,
    read_lines,
    read_raw,
    signed_text,
)
from storage.audit_reader import AuditBook

CHECKPOINT_FORMAT: Final = "calejo-audit-checkpoint/1"
CHECKPOINTS_FILE: Final = "checkpoints.jsonl"
COPY_DEADLINE_S: Final = 5.0
CONTRADICTED: Final = (
    "holds what this machine does not know; was the data directory restored, or its key replaced?"
)


def digest(checkpoint: Checkpoint) -> str:
    """Return what the next checkpoint names as its predecessor."""
    return hashlib.sha256(signed_text(checkpoint)).hexdigest()


def judged(
    signed: Sequence[SignedCheckpoint], keys: Sequence[SignedKey]
) -> tuple[tuple[Checkpoint, ...], str]:
    """Return the checkpoints that follow one from the other, signed by keys that do, and '' or what is wrong.

    They may begin anywhere (a copy kept elsewhere may be younger than the trail), but have no gap and go nowhere back:
    not in number, not in count, not in key.
    """
    known, wrong = chained(keys)
    if wrong:
        return (), wrong
    good: list[Checkpoint] = []
    wrong = _followed(signed, known, good)
    return tuple(good), wrong


def _followed(
    signed: Sequence[SignedCheckpoint], known: Mapping[str, PublicKey], good: list[Checkpoint]
) -> str:
    """Put what follows from the last of `good` behind it; return '' or what is wrong with the next."""
    newest_key = known[good[-1].key_id].number if good else 0
    for each in signed:
        checkpoint = each.checkpoint
        key = known.get(checkpoint.key_id)
        last = good[-1] if good else None
        why = ""
        if checkpoint.format != CHECKPOINT_FORMAT:
            why = f"has the format {checkpoint.format!r}"
        elif key is None or not is_signed(key.public_key, each.signature, signed_text(checkpoint)):
            why = "is not signed by a key of the trail"
        elif key.number < newest_key:
            why = "is signed by a key that had been replaced"
        elif last is not None and (
            checkpoint.number != last.number + 1
            or checkpoint.previous != digest(last)
            or checkpoint.count < last.count
        ):
            why = "does not continue the one before"
        if why or key is None:
            return f"checkpoint {checkpoint.number} {why}"
        newest_key = key.number
        good.append(checkpoint)
    return ""


def read_checkpoints(folder: Path) -> tuple[SignedCheckpoint, ...]:
    """Return what a folder keeps.

    Raises:
        DeviceError: the disk refused.

    """
    return tuple(read_lines(folder / CHECKPOINTS_FILE, SignedCheckpoint))


class Held(NamedTuple):
    """What a folder holds: all lines and keys, the checkpoints that follow one from the other, '' or what is wrong."""

    signed: tuple[SignedCheckpoint, ...]
    keys: tuple[SignedKey, ...]
    known: tuple[Checkpoint, ...]
    wrong: str


class Ledger:
    """Judges the checkpoints of a folder: each signature once, as long as the file does nothing but grow.

    That it grew only is told by a digest of what was judged, which costs a hundredth of its signatures. Whatever else
    happened to file or keys, all of it is judged anew. Call it beside the loop: it reads the whole file.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / CHECKPOINTS_FILE
        self._keys = KeyFolder(folder)
        self._alone = threading.Lock()
        self._length = 0
        self._digest = hashlib.sha256(b"").digest()
        self._held = Held((), (), (), "")

    def read(self) -> Held:
        """Return what the folder holds now.

        Raises:
            DeviceError: the disk refused.

        """
        with self._alone:
            raw, keys = read_raw(self._path), self._keys.keys()
            held = self._held
            is_kept = (
                keys == held.keys and hashlib.sha256(memoryview(raw)[: self._length]).digest() == self._digest
            )
            if is_kept and len(raw) == self._length:
                return held
            has_grown = is_kept and not held.wrong
            if has_grown:
                signed, good = list(held.signed), list(held.known)
            else:
                self._length, signed, good = 0, [], []
            fresh = list(entries(raw[self._length :], SignedCheckpoint))
            known, wrong = (_ids(keys), "") if has_grown else chained(keys)
            wrong = wrong or _followed(fresh, known, good)
            held = Held((*signed, *fresh), keys, tuple(good), wrong)
            # A line that has no end yet may be one that is just being written: it is read again.
            end = raw.rfind(b"\n") + 1
            if not list(entries(raw[end:], SignedCheckpoint)):
                self._length, self._digest = end, hashlib.sha256(memoryview(raw)[:end]).digest()
                self._held = held
            return held


def _ids(keys: Sequence[SignedKey]) -> Mapping[str, PublicKey]:
    return {each.key.key_id: each.key for each in keys}


class Notary:
    """Signs checkpoints of one trail in `<data-dir>/audit`, and copies them and the keys to a folder elsewhere."""

    def __init__(
        self,
        folder: Path,
        book: AuditBook,
        *,
        every_records: int,
        every_s: float,
        elsewhere: Path | None = None,
    ) -> None:
        self._keys = KeyFolder(folder)
        self._ledger = Ledger(folder)
        self._book = book
        self._every_records = every_records
        self._every_s = every_s
        self._elsewhere = elsewhere
        self._copying: asyncio.Future[str] | None = None

    async def look(self, *, now: datetime, why: Why | None = None) -> Look:
        """Hold the trail against the last checkpoint, and sign a new one if it is time (or `why` says so).

        Raises:
            DeviceError: the database is away, the disk refused or another process signs: look again later.

        """
        count, head = await self._book.tail()
        at = utc_text(now)
        # The signatures of years take seconds: not in the loop, which has records to take.
        (private, key, made), held = await asyncio.to_thread(self._opened, at)
        signed, keys, known, wrong = held
        sequence, oldest_at = await self._book.oldest()
        look = Look(key_made=key.key_id if made else "", oldest_at=oldest_at if sequence < count else "")
        last = known[-1] if known else None
        if wrong or (wrong := await self._contradiction(last, count)):
            return msgspec.structs.replace(
                look, broken=wrong, not_kept_elsewhere=await self._copied(signed, keys)
            )
        reason = why or self._due(last, count, now)
        if reason is not None:
            verdict = await self._book.verify(after=0 if last is None else last.count, until=count)
            if not verdict.holds or verdict.chain.count != count or verdict.chain.head != head:
                return msgspec.structs.replace(
                    look, broken=_told(verdict.chain.broken_at, verdict.chain.reason)
                )
            checkpoint = Checkpoint(
                format=CHECKPOINT_FORMAT,
                number=1 if last is None else last.number + 1,
                at=at,
                count=count,
                head=head,
                key_id=key.key_id,
                previous=GENESIS if last is None else digest(last),
                reason=reason,
            )
            entry = SignedCheckpoint(
                checkpoint=checkpoint, signature=private.sign(signed_text(checkpoint)).hex()
            )
            await asyncio.to_thread(self._append, entry, last, key)
            signed = (*signed, entry)
            look = msgspec.structs.replace(look, signed=checkpoint)
        return await self._kept(look, signed, keys)

    async def rotate(self, *, now: datetime) -> tuple[PublicKey, PublicKey, Look]:
        """Sign with the old key once more, replace it by a new one that it signs, and sign with that.

        Raises:
            DeviceError: as `look`, or the trail is broken: a new key would hide it.

        """
        before = await self.look(now=now, why=Why.ROTATION)
        if before.broken:
            raise DeviceError(f"the trail is broken, and its key stays: {before.broken}")
        with self._keys.alone():
            old, new = self._keys.rotate(at=utc_text(now))
        return old, new, await self.look(now=now, why=Why.ROTATION)

    def _opened(self, at: str) -> tuple[tuple[Ed25519PrivateKey, PublicKey, bool], Held]:
        with self._keys.alone():
            own = self._keys.ensure(at=at)
        # Not alone: it may take seconds, and whoever signs or rotates meanwhile is noticed before we append.
        return own, self._ledger.read()

    def _append(self, entry: SignedCheckpoint, last: Checkpoint | None, key: PublicKey) -> None:
        with self._keys.alone():
            newest = self._ledger.read().signed
            if (newest[-1].checkpoint if newest else None) != last or self._keys.ensure(
                at=entry.checkpoint.at
            )[1] != key:
                raise DeviceError("another process has signed meanwhile")
            append_line(self._keys.folder / CHECKPOINTS_FILE, entry)

    async def _contradiction(self, last: Checkpoint | None, count: int) -> str:
        if last is None:
            return ""
        if count < last.count:
            return (
                f"checkpoint {last.number} says {last.count} records, the trail has {count}:"
                " it was cut off or rolled back"
            )
        if await self._book.hash_at(last.count) != last.head:
            return (
                f"record {last.count} is not the one that checkpoint {last.number} was signed over:"
                " the chain was rebuilt or rolled back"
            )
        return ""

    def _due(self, last: Checkpoint | None, count: int, now: datetime) -> Why | None:
        since = count - (0 if last is None else last.count)
        if since <= 0:
            return None
        if last is None or since >= self._every_records:
            return Why.COUNT
        signed_at = datetime.strptime(last.at, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=UTC)
        # A clock that was set back would otherwise silence the notary for as long.
        return Why.TIME if abs((now - signed_at).total_seconds()) >= self._every_s else None

    async def _kept(self, look: Look, signed: Sequence[SignedCheckpoint], keys: Sequence[SignedKey]) -> Look:
        """Add how the copy elsewhere is; what contradicts it was not made by going on from it."""
        why = await self._copied(signed, keys)
        if CONTRADICTED in why and not look.broken:
            look = msgspec.structs.replace(look, broken=why)
        return msgspec.structs.replace(look, not_kept_elsewhere=why)

    async def _copied(self, signed: Sequence[SignedCheckpoint], keys: Sequence[SignedKey]) -> str:
        """Bring the copy elsewhere up to date; return why it is not.

        A share that hangs must hang nobody: one thread at a time waits for it, and ends with the process.
        """
        elsewhere = self._elsewhere
        if elsewhere is None:
            return ""
        if self._copying is None:
            loop = asyncio.get_running_loop()
            future: asyncio.Future[str] = loop.create_future()

            def settle(why: str) -> None:
                if not future.done():
                    future.set_result(why)

            def work() -> None:
                why = copied(elsewhere, signed, keys)
                with suppress(RuntimeError):  # the loop has ended meanwhile: nobody waits any more
                    loop.call_soon_threadsafe(settle, why)

            self._copying = future
            threading.Thread(target=work, name="checkpoints-elsewhere", daemon=True).start()
        done, _ = await asyncio.wait({self._copying}, timeout=COPY_DEADLINE_S)
        if not done:
            return f"{elsewhere}: does not answer"
        why, self._copying = self._copying.result(), None
        return why


def copied(elsewhere: Path, signed: Sequence[SignedCheckpoint], keys: Sequence[SignedKey]) -> str:
    """Append to the copy elsewhere what it lacks; return why that is not possible."""
    try:
        if not elsewhere.is_dir():
            # Not made by us: an empty mount point must not look like the share that is kept elsewhere.
            return f"{elsewhere}: there is no such folder"
        for name, ours, kind in (
            (KEYS_FILE, keys, SignedKey),
            (CHECKPOINTS_FILE, signed, SignedCheckpoint),
        ):
            theirs = read_lines(elsewhere / name, kind)
            if list(ours[: len(theirs)]) != theirs:
                return f"{elsewhere / name}: {CONTRADICTED}"
            for entry in ours[len(theirs) :]:
                append_line(elsewhere / name, entry)
    except (DeviceError, OSError) as error:
        return str(error)
    return ""


def _told(broken_at: int | None, reason: str) -> str:
    return f"record {broken_at}: {reason}" if broken_at is not None else "the trail changed while it was read"
