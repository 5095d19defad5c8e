"""Passwords made into hashes and compared: beside the loop, one at a time, and never more waiting than can be served.

argon2id with 46 MiB, two passes, one lane (OWASP's first choice of parameters); hashes of bcrypt are accepted and
replaced at the next login. libpass brings passlib's interface, which does exactly this.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import cache
from typing import TYPE_CHECKING, Any, Final, TypeVar

from api.access.errors import TooManyError

if TYPE_CHECKING:
    from passlib.context import CryptContext

WAITING_MAX: Final = 8
MEMORY_KIB: Final = 47_104
PASSES: Final = 2
# zxcvbn: so many guesses are what a slow hash withstands ("safely unguessable", score 3).
GUESSES_LOG10_MIN: Final = 8.0
# It takes longer than linear time, and nobody's guesses reach that far.
_JUDGED_CHARACTERS_MAX: Final = 64
_NICENESS: Final = 10

_Answer = TypeVar("_Answer")


class Hashing:
    """One thread of low priority, so that a flood of logins takes no processor from control.

    `memory_kib` and `passes` are what a hash costs; whoever asks for less is a test of something else.
    """

    def __init__(
        self, *, waiting_max: int = WAITING_MAX, memory_kib: int = MEMORY_KIB, passes: int = PASSES
    ) -> None:
        self._waiting_max = waiting_max
        self._cost = (memory_kib, passes)
        self._waiting = 0
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="passwords", initializer=_be_nice)

    async def verified(self, password: str, known: str) -> tuple[bool, str]:
        """Return whether the password is the one of `known`, and a better hash of it, '' if that one is good.

        `known` '' (nobody has that name, or no password) takes as long as any other.

        Raises:
            TooManyError: too many wait already.

        """
        return await self._run(lambda: _verified(password, known, self._cost))

    async def hashed(self, password: str) -> str:
        """Return a new hash.

        Raises:
            TooManyError: too many wait already.

        """
        return await self._run(lambda: str(_context(*self._cost).hash(password)))

    async def judged(self, password: str, words: Sequence[str]) -> str:
        """Return why a password is among the first guesses, '' if it is not.

        Raises:
            TooManyError: too many wait already.

        """
        return await self._run(lambda: judge(password, words))

    def close(self) -> None:
        """End the thread once it has done what it does."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def _run(self, work: Callable[[], _Answer]) -> _Answer:
        if self._waiting >= self._waiting_max:
            raise TooManyError("too many logins at once, try again", 1.0)
        self._waiting += 1
        future = self._thread.submit(work)
        # Counted until it is really done: whoever went away meanwhile leaves the thread as busy as before.
        loop = asyncio.get_running_loop()

        def done(_: object) -> None:
            with suppress(RuntimeError):  # the loop ended meanwhile: nobody counts any more
                loop.call_soon_threadsafe(self._one_less)

        future.add_done_callback(done)
        return await asyncio.wrap_future(future)

    def _one_less(self) -> None:
        self._waiting -= 1


def hash_now(password: str, *, memory_kib: int = MEMORY_KIB, passes: int = PASSES) -> str:
    """Return a new hash, here and now: for commands, which have no loop to keep free."""
    return str(_context(memory_kib, passes).hash(password))


def judge(password: str, words: Sequence[str]) -> str:
    """Return why a password is among the first guesses, '' if it is not: common passwords, words, names, patterns."""
    import zxcvbn  # noqa: PLC0415  (its lists of words are loaded when somebody sets a password, not before)

    found: dict[str, Any] = zxcvbn.zxcvbn(password[:_JUDGED_CHARACTERS_MAX], user_inputs=list(words))
    if float(found["guesses_log10"]) >= GUESSES_LOG10_MIN:
        return ""
    warning = str(found["feedback"]["warning"] or "built of common words or patterns").rstrip(".")
    return warning[:1].lower() + warning[1:]


def generated() -> str:
    """Return a password that nobody guesses: 100 bits in groups of letters and digits that are not mistaken."""
    alphabet = "abcdefghjkmnpqrstuvwxyz23456789"
    return "-".join("".join(secrets.choice(alphabet) for _ in range(5)) for _ in range(4))


@cache
def _context(memory_kib: int, passes: int) -> CryptContext:
    from passlib.context import CryptContext  # noqa: PLC0415  (only who compares passwords pays for it)

    return CryptContext(
        schemes=["argon2", "bcrypt"],
        deprecated="auto",
        argon2__type="ID",
        argon2__memory_cost=memory_kib,
        argon2__time_cost=passes,
        argon2__parallelism=1,
    )


@cache
def _nobodys(memory_kib: int, passes: int) -> str:
    return str(_context(memory_kib, passes).hash(secrets.token_hex(16)))


def _verified(password: str, known: str, cost: tuple[int, int]) -> tuple[bool, str]:
    context = _context(*cost)
    if not known or context.identify(known) is None:
        context.verify(password, _nobodys(*cost))
        return False, ""
    try:
        good, better = context.verify_and_update(password, known)
    except ValueError:
        # bcrypt takes no more than 72 bytes and no NUL: such a password was never the one of that hash.
        return False, ""
    return bool(good), str(better or "")


def _be_nice() -> None:
    with suppress(OSError):  # a machine that forbids it serves logins at ordinary priority
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICENESS)
