#!/usr/bin/env python3
"""Verifies an export of Calejo's audit trail without Calejo: Python 3.11 and its standard library, nothing else.

    python3 verify_audit.py EXPORT [EXPORT ...] [--checkpoint FILE] [--keys FILE] [--partial]

EXPORT: what `calejo audit export` or `calejo audit archive` made, a folder or a tar file; several are segments of one
trail, in order. FILE after --checkpoint: checkpoints kept elsewhere (`checkpoints.jsonl` of the folder that
`audit.checkpoint_dir` names, or one line of it). FILE after --keys: `keys.jsonl` kept elsewhere; without it the keys
of the export itself are believed, and whoever could rebuild the trail could have made them too. --partial: an export
that begins behind a record is meant to; without it that is a trail whose beginning is missing.

Exit codes: 0 it holds, 1 it does not (each reason in one line), 2 it cannot be read, damaged files included. The format
is specified in ops/docs/audit.md. Take this script from a release that you trust, never from the export.

Signatures: with the package `cryptography` where it is installed, else by the arithmetic of RFC 8032 below (slow, some
hundred signatures a minute; it reads public data only, so that its time tells nobody anything).
"""

from __future__ import annotations

import argparse
import hashlib
import json
import lzma
import sys
import tarfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

GENESIS = "0" * 64
COVERED_1 = (
    "record_id", "at", "event_type", "actor", "source_address", "object_id", "outcome", "severity", "before", "after",
    "correlation_id",
)  # fmt: skip
COVERED = {1: COVERED_1, 2: (*COVERED_1, "clauses", "format")}
TAG = {1: "", 2: "calejo-audit/2\n"}
EXPORT_FORMAT = "calejo-audit-export/1"
CHECKPOINT_FORMAT = "calejo-audit-checkpoint/1"
KEY_FORMAT = "calejo-audit-key/1"
LINE_MAX = 4_000_000
KEPT = "kept"
KEY_BYTES, SIGNATURE_BYTES = 32, 64


# What a file says that was cut off or has a wrong bit, whatever packed it (BadGzipFile is an OSError).
DAMAGED = (EOFError, OSError, tarfile.TarError, zlib.error, lzma.LZMAError)


class Unreadable(Exception):
    """The export, or what it is held against, is not what it should be at all."""


def canonical(value: Any) -> str:
    """JSON with sorted keys, without spaces, in ASCII."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, default=repr)


# ------------------------------------------------------------------ Ed25519 (RFC 8032, section 5.1)

P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, P - 2, P) % P
ROOT = pow(2, (P - 1) // 4, P)
Point = tuple[int, int, int, int]


def _add(one: Point, two: Point) -> Point:
    a = (one[1] - one[0]) * (two[1] - two[0]) % P
    b = (one[1] + one[0]) * (two[1] + two[0]) % P
    c = 2 * one[3] * two[3] * D % P
    d = 2 * one[2] * two[2] % P
    e, f, g, h = b - a, d - c, d + c, b + a
    return (e * f % P, g * h % P, f * g % P, e * h % P)


def _times(scalar: int, point: Point) -> Point:
    found: Point = (0, 1, 1, 0)
    while scalar > 0:
        if scalar & 1:
            found = _add(found, point)
        point = _add(point, point)
        scalar >>= 1
    return found


def _decompressed(raw: bytes) -> Point | None:
    y = int.from_bytes(raw, "little")
    sign, y = y >> 255, y & ((1 << 255) - 1)
    if y >= P:
        return None
    square = (y * y - 1) * pow(D * y * y + 1, P - 2, P) % P
    x = pow(square, (P + 3) // 8, P)
    if (x * x - square) % P:
        x = x * ROOT % P
    if (x * x - square) % P or (x == 0 and sign):
        return None
    if x & 1 != sign:
        x = P - x
    return (x, y, 1, x * y % P)


_BASE = _decompressed(bytes([0x58]) + bytes([0x66]) * 31)


def verified_by_arithmetic(public_key: bytes, signature: bytes, text: bytes) -> bool:
    """RFC 8032, 5.1.7, without cofactor, as OpenSSL does it."""
    if len(public_key) != KEY_BYTES or len(signature) != SIGNATURE_BYTES or _BASE is None:
        return False
    key, point = _decompressed(public_key), _decompressed(signature[:32])
    scalar = int.from_bytes(signature[32:], "little")
    if key is None or point is None or scalar >= L:
        return False
    challenge = int.from_bytes(hashlib.sha512(signature[:32] + public_key + text).digest(), "little") % L
    left, right = _times(scalar, _BASE), _add(point, _times(challenge, key))
    return (left[0] * right[2] - right[0] * left[2]) % P == 0 and (
        left[1] * right[2] - right[1] * left[2]
    ) % P == 0


def verifier(*, arithmetic: bool) -> Callable[[bytes, bytes, bytes], bool]:
    """Return what verifies (public key, signature, text)."""
    if not arithmetic:
        try:
            from cryptography.exceptions import InvalidSignature
            from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
        except ImportError:
            return verified_by_arithmetic

        def verified(public_key: bytes, signature: bytes, text: bytes) -> bool:
            try:
                Ed25519PublicKey.from_public_bytes(public_key).verify(signature, text)
            except (InvalidSignature, ValueError):
                return False
            return True

        return verified
    return verified_by_arithmetic


# ------------------------------------------------------------------ reading


class Export:
    """A folder, or a tar file whose members are read as they stand and never written anywhere."""

    def __init__(self, path: Path, closing: ExitStack) -> None:
        self.path = path
        self._tar: tarfile.TarFile | None = None
        if path.is_file():
            try:
                self._tar = closing.enter_context(tarfile.open(path))  # noqa: SIM115  (the stack closes it)
            except DAMAGED as error:
                raise Unreadable(f"{path}: no tar file ({error})") from None
        elif not path.is_dir():
            raise Unreadable(f"{path}: there is no such file or folder")
        manifest = self.objects("manifest.json")
        self.manifest = next(iter(manifest), {})
        if self.manifest.get("format") != EXPORT_FORMAT:
            raise Unreadable(f"{path}: its manifest does not say {EXPORT_FORMAT}")

    def objects(self, name: str) -> Iterator[dict[str, Any]]:
        """Yield the objects of one file, a line each."""
        for number, line in enumerate(self._lines(name), 1):
            if not line.strip():
                continue
            try:
                found = json.loads(line)
            except (ValueError, RecursionError):
                raise Unreadable(f"{self.path}: {name}, line {number} is no JSON") from None
            if not isinstance(found, dict):
                raise Unreadable(f"{self.path}: {name}, line {number} is no object")
            yield found

    def _lines(self, name: str) -> Iterator[bytes]:
        if self._tar is None:
            try:
                file: Any = (self.path / name).open("rb")
            except OSError as error:
                raise Unreadable(f"{self.path / name}: {error.strerror}") from None
        else:
            try:
                file = self._tar.extractfile(name)
            except KeyError:
                file = None
            if file is None:
                raise Unreadable(f"{self.path}: holds no {name}")
        with file:
            while line := file.readline(LINE_MAX):
                yield line


def lines_of(path: Path, *, what: str) -> list[dict[str, Any]]:
    """JSON lines kept elsewhere; a last line that a crash tore is left out."""
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise Unreadable(f"{path}: {error.strerror}") from None
    found = []
    for line in raw.splitlines():
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        if isinstance(entry, dict) and isinstance(entry.get(what), dict):
            found.append(entry)
    if not found:
        raise Unreadable(f"{path}: holds no {what}")
    return found


# ------------------------------------------------------------------ judging


class Keys:
    """The public keys that follow one from the other; the first is believed."""

    def __init__(self, verify: Callable[[bytes, bytes, bytes], bool]) -> None:
        self._verify = verify
        self.by_id: dict[str, dict[str, Any]] = {}

    def take(self, listed: Iterable[dict[str, Any]]) -> Iterator[str]:
        """Add what the known keys signed; yield what is wrong."""
        for entry in listed:
            key = entry["key"]
            if self.by_id.get(str(key.get("key_id"))) == key:
                continue
            signer = key if not self.by_id else self.by_id.get(str(key.get("previous_key_id")))
            if signer is None or not self._is_good(key, signer, str(entry.get("signature"))):
                yield f"key {key.get('key_id')!r} is not signed by a key that is known: it was put in by somebody else"
            else:
                self.by_id[key["key_id"]] = key

    def _is_good(self, key: dict[str, Any], signer: dict[str, Any], signature: str) -> bool:
        try:
            raw = bytes.fromhex(key["public_key"])
            return (
                key["format"] == KEY_FORMAT
                and hashlib.sha256(raw).hexdigest()[:32] == key["key_id"]
                and (key is signer or key["number"] > signer["number"])
                and self.has_signed(signer, signature, key)
            )
        except (KeyError, TypeError, ValueError):
            return False

    def has_signed(self, key: dict[str, Any], signature: str, body: dict[str, Any]) -> bool:
        """Say whether `key` signed `body`."""
        try:
            text = f"{body['format']}\n{canonical(body)}".encode("ascii")
            return self._verify(bytes.fromhex(key["public_key"]), bytes.fromhex(signature), text)
        except (KeyError, TypeError, ValueError):
            return False


def checkpoints_of(
    entries: Iterable[dict[str, Any]], keys: Keys, *, whose: str
) -> tuple[list[dict[str, Any]], list[str]]:
    """The checkpoints that hold together, and what is wrong with the first that does not."""
    good: list[dict[str, Any]] = []
    newest = 0
    for entry in entries:
        body = entry["checkpoint"]
        key = keys.by_id.get(str(body.get("key_id")))
        name = f"{whose} checkpoint {body.get('number')}"
        if body.get("format") != CHECKPOINT_FORMAT or key is None:
            return good, [f"{name} names no key that is known"]
        if not keys.has_signed(key, str(entry.get("signature")), body):
            return good, [f"{name}: its signature is false"]
        if key["number"] < newest:
            return good, [f"{name} is signed by a key that had been replaced"]
        if good:
            last = good[-1]
            told = f"{CHECKPOINT_FORMAT}\n{canonical(last)}"
            if (
                body["number"] != last["number"] + 1
                or body["previous"] != hashlib.sha256(told.encode("ascii")).hexdigest()
                or body["count"] < last["count"]
            ):
                return good, [f"{name} does not continue the one before"]
        newest = key["number"]
        good.append(body)
    return good, []


def digest(head: str, sequence: int, record: dict[str, Any]) -> str:
    """Return the hash of a record behind the one with hash `head`."""
    form = record["format"]
    covered = canonical({name: record[name] for name in COVERED[form]})
    return hashlib.sha256(f"{TAG[form]}{head}\n{sequence}\n{covered}".encode("ascii")).hexdigest()


class Walk:
    """Goes along the records of all segments, past the checkpoints."""

    def __init__(self, first: Export) -> None:
        self.count = int(first.manifest.get("after", 0))
        self.head = str(first.manifest.get("after_hash", GENESIS))
        self.began_behind = self.count
        self._format = 1
        self._expected: dict[int, list[tuple[str, str]]] = {}
        self.met = 0
        self.met_kept = 0
        self.not_judged = 0

    def expect(self, bodies: Iterable[dict[str, Any]], *, whose: str) -> None:
        """Remember what was signed; what stands before the first segment cannot be judged here."""
        for body in bodies:
            if body["count"] < self.began_behind:
                self.not_judged += 1
                continue
            self._expected.setdefault(body["count"], []).append(
                (body["head"], f"{whose} checkpoint {body['number']} of {body['at']}")
            )

    def pass_by(self) -> Iterator[str]:
        """Yield what was signed otherwise over the record where the walk is."""
        for head, name in self._expected.pop(self.count, ()):
            if head == self.head:
                self.met += 1
                self.met_kept += name.startswith(KEPT)
            else:
                yield (
                    f"record {self.count} is not the one that {name} was signed over:"
                    " the trail was rebuilt, or rolled back and written on"
                )

    def along(self, records: Iterable[dict[str, Any]]) -> Iterator[str]:
        """Yield what is wrong; nothing behind the first broken record is judged."""
        for record in records:
            if why := self._step(record):
                yield f"record {self.count + 1} ({str(record.get('record_id'))[:80]!r}): {why}"
                return
            yield from self.pass_by()

    def _step(self, record: dict[str, Any]) -> str:
        sequence = self.count + 1
        missing = [name for name in (*COVERED[2], "sequence", "hash", "previous_hash") if name not in record]
        if missing:
            return f"lacks {', '.join(missing)}"
        if record["sequence"] != sequence:
            return f"has sequence {record['sequence']}: records are missing, moved or in excess"
        if record["previous_hash"] != self.head:
            return "does not name its predecessor's hash"
        form = record["format"]
        if form not in COVERED or form < self._format or (form == 1 and record["clauses"] != ""):
            return f"its format {form!r} is none, or goes back"
        own = digest(self.head, sequence, record)
        if record["hash"] != own:
            return "its content is not what was hashed"
        self.count, self.head, self._format = sequence, own, form
        return ""

    def left(self) -> Iterator[str]:
        """What was signed and is not there."""
        behind = [count for count in self._expected if count > self.count]
        if behind:
            name = self._expected[max(behind)][0][1]
            yield (
                f"{name} says {max(behind)} records, and the trail ends at {self.count}:"
                " it was cut off, or rolled back to an old state"
            )


def through(exports: Iterable[Export], walk: Walk) -> list[str]:
    """Go through the segments in order; return what is wrong up to where it cannot go on."""
    wrong: list[str] = []
    for export in exports:
        after, head = int(export.manifest.get("after", 0)), export.manifest.get("after_hash", GENESIS)
        if (after, head) != (walk.count, walk.head):
            return [
                *wrong,
                f"{export.path}: begins behind record {after}, which is not where the one before ends",
            ]
        broken = list(walk.along(export.objects("records.jsonl")))
        wrong += broken
        if any(each.startswith(f"record {walk.count + 1} (") for each in broken):
            return wrong
        told = export.manifest.get("count")
        if walk.count != told or walk.head != export.manifest.get("head"):
            return [*wrong, f"{export.path}: its manifest says {told} records, it ends at {walk.count}"]
    return [*wrong, *walk.left()]


def notes(arguments: argparse.Namespace, walk: Walk, keys: Keys) -> list[str]:
    """Return what holds, and what was not there to be held against."""
    said = [f"records {walk.began_behind + 1} to {walk.count} hold; the last hash is {walk.head}"]
    said.append(f"{walk.met} checkpoints are met; keys: {', '.join(keys.by_id) or 'none'}")
    if walk.began_behind:
        said.append(f"note: begins behind record {walk.began_behind}; what stood before it is not judged")
    if walk.not_judged:
        said.append(f"note: {walk.not_judged} checkpoints stand before that and were not judged")
    if arguments.checkpoint is None:
        said.append(
            "note: held against no checkpoint kept elsewhere: a trail cut off or rebuilt whole would pass"
        )
    if arguments.keys is None:
        said.append("note: the keys of the export itself were believed")
    return said


def judge(arguments: argparse.Namespace, closing: ExitStack) -> tuple[list[str], list[str]]:
    """What is wrong, and what can be said."""
    exports = [Export(path, closing) for path in arguments.export]
    keys = Keys(verifier(arithmetic=arguments.arithmetic))
    wrong: list[str] = []
    if arguments.keys is not None:
        wrong += keys.take(lines_of(arguments.keys, what="key"))
    for export in exports:
        wrong += keys.take(export.objects("keys.jsonl"))
    walk = Walk(exports[0])
    if arguments.checkpoint is not None:
        kept, why = checkpoints_of(lines_of(arguments.checkpoint, what="checkpoint"), keys, whose=KEPT)
        wrong += why
        walk.expect(kept, whose=KEPT)
    own, why = checkpoints_of(exports[-1].objects("checkpoints.jsonl"), keys, whose="the export's")
    wrong += why
    walk.expect(own, whose="the export's")
    wrong += walk.pass_by()
    wrong += through(exports, walk)
    if walk.began_behind and not arguments.partial:
        unjudged = f", and {walk.not_judged} checkpoints over them were not judged" if walk.not_judged else ""
        wrong.append(
            f"records 1 to {walk.began_behind} are not here{unjudged}: give the earlier segments before this one,"
            " or say --partial"
        )
    if arguments.checkpoint is not None and not walk.met_kept and not wrong:
        wrong.append(
            "no checkpoint kept elsewhere lies within this export: nothing binds it; export from further back"
        )
    return wrong, notes(arguments, walk, keys)


def main() -> int:
    """Verify, and say it."""
    parser = argparse.ArgumentParser(description="Verify an export of Calejo's audit trail without Calejo.")
    parser.add_argument("export", nargs="+", type=Path)
    parser.add_argument("--checkpoint", type=Path, default=None, help="checkpoints kept elsewhere")
    parser.add_argument("--keys", type=Path, default=None, help="public keys kept elsewhere")
    parser.add_argument(
        "--partial", action="store_true", help="judge an export that begins behind a record by itself"
    )
    parser.add_argument(
        "--arithmetic", action="store_true", help="verify signatures without the package cryptography"
    )
    try:
        with ExitStack() as closing:
            wrong, said = judge(parser.parse_args(), closing)
    except Unreadable as error:
        print(f"unreadable: {error}", file=sys.stderr)
        return 2
    except (KeyError, TypeError, ValueError) as error:
        print(f"unreadable: {type(error).__name__}: {error}", file=sys.stderr)
        return 2
    except DAMAGED as error:
        print(f"unreadable: a file is damaged ({type(error).__name__}: {error})", file=sys.stderr)
        return 2
    for line in wrong:
        print(f"BROKEN: {line}")
    for line in said:
        print(line)
    print("the trail does not hold" if wrong else "the trail holds")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
