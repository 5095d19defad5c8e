"""Who failed to log in, and has to wait: counted per account and address, and known again after a restart (SEC-1)."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Final

from actors.access.backoff import ACCOUNT_FREE, ADDRESS_FREE, FORGET_AFTER_S, BackOff
from actors.access.requests import RequestStore
from actors.runtime import Clock
from actors.vocabulary import DeviceError, Instant
from actors.vocabulary.requests import Failing, LoginFailures

_UNWRITTEN_MAX: Final = 1_000

_Key = tuple[Failing, str]


class Failures:
    """Counts; what it counts is in the database before the client knows. `store` None: in this process only."""

    def __init__(self, store: RequestStore | None, *, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._books = {
            Failing.ACCOUNT: BackOff(free=ACCOUNT_FREE),
            Failing.ADDRESS: BackOff(free=ADDRESS_FREE),
        }
        self._recalling = asyncio.Lock()
        self._is_recalled = store is None
        self._unwritten: dict[_Key, None] = {}

    async def recall(self) -> None:
        """Take over what was counted before this process began.

        Raises:
            DeviceError: the database is away: nobody may try a password before it is known who has to wait.

        """
        if self._is_recalled or self._store is None:
            return
        async with self._recalling:
            # Of several who log in at once the first one has done it for all; doing it again would change nothing.
            now = self._clock.now()
            found = await self._store.failures(since=now.utc - timedelta(seconds=FORGET_AFTER_S))
            for each in found:
                # Wall clocks may be set; a failure is never taken for one that is yet to come.
                ago_s = max(0.0, (now.utc - each.last_at).total_seconds())
                self._books[each.kind].remember(each.name, each.count, now.plus(-ago_s))
            self._is_recalled = True

    def wait_s(self, account: str, address: str) -> float:
        """Return how long to wait yet before trying again (s), 0: not at all."""
        now = self._clock.now()
        return max(book.wait_s(name, now) for book, name in self._named(account, address))

    async def failed(self, account: str, address: str) -> float:
        """Count a failure; return for how long that locks the account (s)."""
        now = self._clock.now()
        waits_s = [book.failed(name, now) for book, name in self._named(account, address)]
        for key in ((Failing.ACCOUNT, account), (Failing.ADDRESS, address)):
            self._unwritten.pop(key, None)
            self._unwritten[key] = None
        while len(self._unwritten) > _UNWRITTEN_MAX:
            del self._unwritten[next(iter(self._unwritten))]
        await self._write(now)
        return waits_s[0]

    async def succeeded(self, account: str, address: str) -> None:
        """Forget the failures of an account, and of the address as many: those at other accounts go on to count.

        Else whoever has an account of their own would guess at others without ever having to wait.
        """
        now = self._clock.now()
        accounts, addresses = self._books[Failing.ACCOUNT], self._books[Failing.ADDRESS]
        count = accounts.count(account, now)
        if not count:
            return
        accounts.succeeded(account)
        addresses.forgive(address, count, now)
        self._unwritten.pop((Failing.ACCOUNT, account), None)
        self._unwritten.pop((Failing.ADDRESS, address), None)
        if self._store is None:
            return
        try:
            await self._store.forgive(Failing.ACCOUNT, account)
            await self._store.forgive(Failing.ADDRESS, address)
        except DeviceError:
            # Whoever logged in waits for nothing here; after a restart they may have to, once.
            return
        if addresses.count(address, now):
            self._unwritten[Failing.ADDRESS, address] = None
            await self._write(now)

    async def _write(self, now: Instant) -> None:
        if self._store is None:
            return
        keys = tuple(self._unwritten)
        rows = tuple(
            LoginFailures(kind=kind, name=name, count=count, last_at=now.utc)
            for kind, name in keys
            if (count := self._books[kind].count(name, now))
        )
        try:
            await self._store.failed(rows)
        except DeviceError:
            return  # with the next one; until then this process knows
        for key in keys:
            self._unwritten.pop(key, None)

    def _named(self, account: str, address: str) -> tuple[tuple[BackOff, str], tuple[BackOff, str]]:
        return (self._books[Failing.ACCOUNT], account), (self._books[Failing.ADDRESS], address)
