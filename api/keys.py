"""`Idempotency-Key`: a command that is repeated under its key is answered again and not carried out again (API-2).

What was answered is kept in the database for 24 hours, so that a repeat after a restart is answered the same. An
emergency stop is not kept there: it must not wait for a database. Its key makes its id; the same id is the same stop.
"""

from __future__ import annotations

import hashlib
import re
import uuid
from enum import StrEnum, unique
from http import HTTPStatus
from typing import Any, Final

import msgspec
from litestar import Request, Response
from litestar.datastructures import State

from actors.access.requests import RequestStore
from actors.runtime import Clock, Log
from actors.vocabulary import DeviceError, InvalidValueError, RefusedError, UnavailableError
from actors.vocabulary.requests import Command
from api.access.errors import KeyReusedError
from api.access.guarding import principal_of
from api.guard import BODY_KEY

HEADER: Final = "idempotency-key"
REPLAYED: Final = "Idempotency-Replayed"
OPT: Final = "idempotency"
CLAIM: Final = "calejo.claim"
SETTLES: Final = "calejo.settles"
"""In the scope of a request whose claim will be settled, whatever becomes of it."""
ANSWER_BYTES_MAX: Final = 1024 * 1024
_KEY: Final = re.compile(r"[\x21\x23-\x7e]{1,200}\Z")
_NAMESPACE: Final = uuid.UUID("0c2d8f5e-5f0e-4b5c-9e1b-1b8d7c3f6a95")
_TOO_LONG: Final = msgspec.json.encode({"note": "done; the answer was too long to be kept"})


@unique
class Keyed(StrEnum):
    """How a command is told from its repeat."""

    KEPT = "kept"
    BY_ID = "by id"


def keyed(how: Keyed = Keyed.KEPT) -> dict[str, Any]:
    """Return the `opt` of a command that takes a key."""
    return {OPT: how}


def key_of(request: Request[Any, Any, State]) -> str:
    """Return the key of a request, '' : it has none.

    Raises:
        InvalidValueError: it is none.

    """
    given = request.headers.getall(HEADER, [])
    if not given:
        return ""
    key = given[0].strip()
    if len(key) > 1 and key[0] == key[-1] == '"':
        key = key[1:-1]
    if len(given) > 1 or _KEY.match(key) is None:
        raise InvalidValueError(
            f"Idempotency-Key: {key[:60]!r}, expected once, 1 to 200 visible ASCII characters without quotes"
        )
    return key


def id_by_key(request: Request[Any, Any, State]) -> str:
    """Return an id for what a request orders: the same for the same user, resource and key; without a key a new one."""
    key = key_of(request)
    if not key:
        return str(uuid.uuid4())
    asked = f"{principal_of(request).user_id}\n{request.url.path}\n{key}"
    return str(uuid.uuid5(_NAMESPACE, asked))


class Keys:
    """Claims keys and keeps answers. `store` None: this API has no database."""

    def __init__(self, store: RequestStore | None, *, clock: Clock, log: Log) -> None:
        self._store = store
        self._clock = clock
        self._log = log
        self._under_way: set[tuple[str, str]] = set()

    async def before(self, request: Request[Any, Any, State]) -> Response[bytes] | None:
        """Return what a command was answered before, None: carry it out.

        Raises:
            InvalidValueError: this is no key, or the resource takes none.
            KeyReusedError: the key belongs to another command.
            RefusedError: the first one is under way, or nobody knows what became of it.
            DeviceError: the database is away: without the key the command can be given.

        """
        key = key_of(request) if request.method == "POST" else ""
        if not key:
            return None
        how = request.route_handler.opt.get(OPT)
        if how is None:
            raise InvalidValueError("Idempotency-Key: this resource takes none, expected no such header")
        if how is Keyed.BY_ID:
            return None
        if self._store is None:
            raise UnavailableError("Idempotency-Key: this API has no database to remember it in")
        scope: Any = request.scope
        # Before anything is claimed: a claim that nobody settles would shut its key for a day.
        assert SETTLES in scope, f"{request.url.path}: nobody would settle a claim"
        command = Command(
            user_id=principal_of(request).user_id,
            key=key,
            request_hash=_hash(request.method, request.url.path, request.url.query, scope[BODY_KEY]),
            asked_at=self._clock.now().utc,
        )
        held = await self._store.claim(command)
        if held is not None:
            return self._again(command, held)
        self._under_way.add((command.user_id, command.key))
        scope[CLAIM] = command
        return None

    async def after(self, command: Command, status: int, content_type: str, body: bytes) -> None:
        """Keep what a command was answered; one that was refused is forgotten, and may be given again."""
        assert self._store is not None, "nothing was claimed without one"
        try:
            if status >= HTTPStatus.BAD_REQUEST:
                await self._store.release(command.user_id, command.key)
                return
            kept = body if len(body) <= ANSWER_BYTES_MAX else _TOO_LONG
            done = msgspec.structs.replace(
                command, status=status, content_type=content_type, body=kept.decode("utf-8", "replace")
            )
            await self._store.answered(done)
        except DeviceError as error:
            # It was carried out; a repeat will be told that nobody knows, which is the truth by then.
            self._log.warning("answer_not_kept", key=command.key, error=str(error))
        finally:
            self.ended(command)

    def ended(self, command: Command) -> None:
        """Know that a command is no longer under way, whatever became of it."""
        self._under_way.discard((command.user_id, command.key))

    def _again(self, command: Command, held: Command) -> Response[bytes]:
        if held.request_hash != command.request_hash:
            raise KeyReusedError(
                f"Idempotency-Key: {command.key[:60]!r} was used for another command within 24 hours"
            )
        if held.status is None:
            if (command.user_id, command.key) in self._under_way:
                raise RefusedError(f"Idempotency-Key: {command.key[:60]!r}: the first request is under way")
            raise RefusedError(
                f"Idempotency-Key: {command.key[:60]!r}: the API ended over the first request, and nobody knows what"
                " became of it: look, then ask with another key"
            )
        return Response(
            held.body.encode(),
            status_code=held.status,
            media_type=held.content_type,
            headers={REPLAYED: "true"},
        )


def _hash(*parts: str | bytes) -> str:
    digest = hashlib.sha256()
    for part in parts:
        raw = part.encode() if isinstance(part, str) else part
        digest.update(len(raw).to_bytes(8, "big") + raw)
    return digest.hexdigest()
