"""Commands by key and failed logins in a database: the same tests run in memory, on SQLite and on PostgreSQL."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import TypeVar

import msgspec
import pytest

from actors.access.requests import RequestStore
from actors.vocabulary import RefusedError
from actors.vocabulary.requests import KEYS_PER_USER_MAX, WINDOW, Command, Failing, LoginFailures
from storage import requests
from storage.requests import DatabaseRequests
from tests.unit.api.remembered import Requests
from tests.unit.storage.contract import NOON, Place, awaited

T = TypeVar("T")


def command(key: str = "k1", user_id: str = "anna", **changed: object) -> Command:
    made = Command(user_id=user_id, key=key, request_hash="0" * 64, asked_at=NOON)
    return msgspec.structs.replace(made, **changed)


def failure(name: str, count: int, ago_s: float = 0.0, kind: Failing = Failing.ACCOUNT) -> LoginFailures:
    return LoginFailures(kind=kind, name=name, count=count, last_at=NOON - timedelta(seconds=ago_s))


def on_requests(place: Place | Requests, work: Callable[[RequestStore], Awaitable[T]]) -> T:
    """Open the store as the API does, do `work`, close; the one in memory is open."""
    if isinstance(place, Requests):
        return asyncio.run(awaited(work(place)))
    return place.with_pools(DatabaseRequests, work)


class RequestsContract:
    """What every store must do, the one in memory too."""

    def test_a_key_is_claimed_once_and_its_answer_comes_back(self, place: Place | Requests) -> None:
        """API-2: the first claims; who comes after gets what stands there, first without, then with its answer."""

        async def work(store: RequestStore) -> None:
            first = command()
            assert await store.claim(first) is None
            assert await store.claim(command(request_hash="1" * 64)) == first
            done = msgspec.structs.replace(
                first, status=200, content_type="application/json", body='{"é": "\ufffd"}'
            )
            await store.answered(done)
            assert await store.claim(command()) == done
            assert await store.claim(command(user_id="bert")) is None, "another user's key is another key"
            await store.release("anna", "k1")
            assert await store.claim(command()) is None, "what was refused may be asked again"

        on_requests(place, work)

    def test_a_key_is_forgotten_after_a_day(self, place: Place | Requests) -> None:
        """API-2: within 24 hours it counts, whether or not it was pruned since."""

        async def work(store: RequestStore) -> None:
            await store.claim(command())
            late = command(asked_at=NOON + WINDOW - timedelta(seconds=1))
            assert await store.claim(late) is not None
            assert await store.claim(command(asked_at=NOON + WINDOW)) is None
            await store.claim(command("k2"))
            assert await store.prune(commands_before=NOON, failures_before=NOON) == 0
            later = NOON + timedelta(hours=1)
            assert await store.prune(commands_before=later, failures_before=later) == 1

        on_requests(place, work)

    def test_keys_are_bounded_per_user(
        self, place: Place | Requests, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """API-2: everything is bounded; one user's keys are not another's."""
        monkeypatch.setattr(requests, "KEYS_PER_USER_MAX", 3)
        monkeypatch.setattr("tests.unit.api.remembered.KEYS_PER_USER_MAX", 3)
        assert KEYS_PER_USER_MAX == 10_000

        async def work(store: RequestStore) -> None:
            for number in range(3):
                assert await store.claim(command(f"k{number}")) is None
            with pytest.raises(RefusedError, match="holds"):
                await store.claim(command("k9"))
            assert await store.claim(command("k0")) is not None
            assert await store.claim(command("k9", user_id="bert")) is None

        on_requests(place, work)

    def test_failures_come_back_oldest_first(self, place: Place | Requests) -> None:
        """SEC-1: what was counted before a restart is known after it, replaced by newer counts, forgiven by name."""

        async def work(store: RequestStore) -> None:
            address = failure("192.0.2.1", 20, 30.0, Failing.ADDRESS)
            await store.failed((failure("anna", 4, 60.0), address, failure("old", 9, 7_200.0)))
            await store.failed((failure("anna", 5),))
            since = NOON - timedelta(hours=1)
            assert await store.failures(since=since) == (address, failure("anna", 5))
            await store.forgive(Failing.ADDRESS, "anna")
            await store.forgive(Failing.ADDRESS, "192.0.2.1")
            assert await store.failures(since=since) == (failure("anna", 5),)
            assert await store.prune(commands_before=since, failures_before=since) == 1
            hostile = "x' OR '1'='1"
            await store.failed((failure(hostile, 1),))
            await store.forgive(Failing.ACCOUNT, hostile)
            assert await store.failures(since=since) == (failure("anna", 5),)

        on_requests(place, work)


class DatabaseRequestsContract(RequestsContract):
    """What a database must do besides."""

    def test_of_two_at_once_one_claims(self, place: Place) -> None:
        """API-2: two requests of one key at the same moment: one is carried out."""

        async def work(store: RequestStore) -> None:
            found = await asyncio.gather(*(store.claim(command()) for _ in range(4)))
            assert sum(each is None for each in found) == 1

        on_requests(place, work)

    @pytest.mark.parametrize(
        "statement",
        [
            "request_keys (user_id, key, request_hash, asked_at) VALUES ('a', 'k', 'x', {at})",
            "login_failures (kind, name, count, last_at) VALUES ('CAT', 'a', 1, {at})",
            "login_failures (kind, name, count, last_at) VALUES ('ACCOUNT', 'a', 0, {at})",
        ],
    )
    def test_the_database_itself_keeps_words(self, place: Place, statement: str) -> None:
        """API-2: what could not be read back is not taken."""
        with pytest.raises(place.refusal):
            place.execute("INSERT INTO " + statement.format(at="'2026-06-01T12:00:00+00:00'"))
