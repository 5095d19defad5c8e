"""What REST remembers of requests, in memory; it outlives the API that is started on it, as a database does."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from actors.vocabulary import DeviceError, InvalidValueError, RefusedError
from actors.vocabulary.client_calls import PastPage, PastQuestion, PastValue
from actors.vocabulary.past import PastQuery, PastTable
from actors.vocabulary.requests import KEYS_PER_USER_MAX, WINDOW, Command, Failing, LoginFailures


class Requests:
    """The port in memory, each change whole. `away`: the database is."""

    def __init__(self) -> None:
        self.commands: dict[tuple[str, str], Command] = {}
        self.failing: dict[tuple[Failing, str], LoginFailures] = {}
        self.away = False

    async def claim(self, command: Command) -> Command | None:
        self._there()
        held = self.commands.get((command.user_id, command.key))
        if held is not None and held.asked_at > command.asked_at - WINDOW:
            return held
        self.commands.pop((command.user_id, command.key), None)
        if sum(user == command.user_id for user, _ in self.commands) >= KEYS_PER_USER_MAX:
            raise RefusedError(f"Idempotency-Key: {command.user_id} holds {KEYS_PER_USER_MAX} keys")
        self.commands[command.user_id, command.key] = command
        return None

    async def answered(self, command: Command) -> None:
        self._there()
        self.commands[command.user_id, command.key] = command

    async def release(self, user_id: str, key: str) -> None:
        self._there()
        self.commands.pop((user_id, key), None)

    async def failures(self, *, since: datetime) -> tuple[LoginFailures, ...]:
        self._there()
        found = [each for each in self.failing.values() if each.last_at >= since]
        return tuple(sorted(found, key=lambda each: each.last_at))

    async def failed(self, failures: tuple[LoginFailures, ...]) -> None:
        self._there()
        for each in failures:
            self.failing[each.kind, each.name] = each

    async def forgive(self, kind: Failing, name: str) -> None:
        self._there()
        self.failing.pop((kind, name), None)

    async def prune(self, *, commands_before: datetime, failures_before: datetime) -> int:
        self._there()
        old = [key for key, each in self.commands.items() if each.asked_at < commands_before]
        past = [key for key, each in self.failing.items() if each.last_at < failures_before]
        for key in old:
            del self.commands[key]
        for name in past:
            del self.failing[name]
        return len(old) + len(past)

    def _there(self) -> None:
        if self.away:
            raise DeviceError("postgresql://db: connection refused")


class Points:
    """The past of points in memory: `shown` per endpoint, newest first; `asked` is what was asked for."""

    def __init__(self) -> None:
        self.shown: dict[str, list[PastValue]] = {}
        self.asked: list[tuple[PastQuestion, str]] = []
        self.away = False

    async def read(self, question: PastQuestion, *, endpoint: str) -> PastPage:
        """Return a page; what marks its end is the number of values before the next one."""
        self.asked.append((question, endpoint))
        if self.away:
            raise DeviceError("postgresql://db: connection refused")
        if question.following and not question.following.isdigit():
            raise InvalidValueError("following: nothing that a page said")
        assert question.start is not None
        assert question.end is not None
        inside = [each for each in self.shown.get(endpoint, []) if question.end < each.at <= question.start]
        begin = int(question.following or 0)
        end = begin + question.count_max
        return PastPage(values=tuple(inside[begin:end]), following=str(end) if end < len(inside) else "")


class Past:
    """Rows of the past in memory, as the database gives them."""

    def __init__(self) -> None:
        self.rows: dict[PastTable, list[dict[str, Any]]] = {table: [] for table in PastTable}
        self.asked: list[PastQuery] = []

    async def page(self, table: PastTable, query: PastQuery) -> tuple[Mapping[str, Any], ...]:
        self.asked.append(query)
        key = next(iter(self.rows[table][0])) if self.rows[table] else ""
        named = "scope_id" if table is PastTable.FAILSAFES else "pump_id"
        found = [
            row
            for row in self.rows[table]
            if (query.subjects is None or row[named] in query.subjects)
            and (query.before is None or row[key] < query.before)
        ]
        return tuple(sorted(found, key=lambda row: -row[key])[: query.count_max])
