"""Limits with approval in the database: what a decision rests on is read, and what it says is written, in one
transaction (SAF-6).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection
from typing import Any, Final

from sqlalchemy import Select, func, insert, select, text, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from actors.vocabulary import ControlType, DeviceError, RefusedError, UnknownSubjectError
from actors.vocabulary.limits import (
    LIMIT_KEYS,
    Envelope,
    LimitProposal,
    LimitsBook,
    LimitVersion,
    NewVersion,
    Outcome,
    ProposalState,
)
from storage import audit
from storage.cells import BadCellError, Row, member
from storage.engine import Database, RowRefusedError, StaleReadError
from storage.models import (
    pump_commissioning_envelopes,
    pump_limit_proposals,
    pump_safety_limits,
    pump_safety_limits_history,
    pumps,
)
from storage.readers import rows_of
from storage.validation import in_force

LISTED_MAX: Final = 500
_LOCK: Final = 0x43616C65_6A6F_0003  # "Calejo", third of its advisory locks: changes of limits


class DatabaseLimits:
    """Reads and changes limits with the writer's role; a change is answered when it is committed, or not made."""

    def __init__(self, reader: Database, writer: Database) -> None:
        """Take two pools of one role: reading must not wait for the one connection that writes (SQLite)."""
        self._reader = reader
        self._writer = writer

    async def book(self, pump_id: str) -> LimitsBook:
        """Return what is in force for a pump, its envelope and its open proposals.

        Raises:
            UnknownSubjectError: there is no such pump.
            DeviceError: the database is away or slow.

        """
        return await self._reader.run(lambda connection: read_book(connection, pump_id))

    async def change(
        self, pump_id: str, decide: Callable[[LimitsBook], Outcome], *, proposal_id: str
    ) -> Outcome:
        """Have `decide` (pure: it may be asked again) judge the pump's book, and write what it says or nothing.

        Raises:
            UnknownSubjectError: there is no such pump, or as `decide` raises.
            RefusedError: the database itself refused what was decided.
            DeviceError: the database is away or slow: then it is not known whether it was written; asking again
                with the same ids finds out and does no harm.

        """

        async def work(connection: AsyncConnection) -> Outcome:
            await lock(connection)
            outcome = decide(await read_book(connection, pump_id, asked=proposal_id))
            await _write(connection, outcome)
            return outcome

        try:
            return await self._writer.run(work)
        except RowRefusedError as error:
            raise RefusedError(f"the database refused the change: {error}") from None

    async def proposals(
        self, *, pump_id: str | None = None, states: Collection[ProposalState] = ()
    ) -> tuple[LimitProposal, ...]:
        """Return proposals, the newest first, at most 500; of one pump, and in some states only.

        Raises:
            DeviceError: the database is away or slow.

        """
        columns = pump_limit_proposals.c
        statement = select(pump_limit_proposals).order_by(
            columns.proposed_at.desc(), columns.proposal_id.desc()
        )
        if pump_id is not None:
            statement = statement.where(columns.pump_id == pump_id)
        if states:
            statement = statement.where(columns.state.in_([state.value for state in states]))
        rows = await self._reader.run(lambda connection: rows_of(connection, statement.limit(LISTED_MAX)))
        return tuple(_proposal(row) for row in rows)

    async def proposal(self, proposal_id: str) -> LimitProposal | None:
        """Return one proposal, None: there is none.

        Raises:
            DeviceError: the database is away or slow.

        """
        statement = select(pump_limit_proposals).where(pump_limit_proposals.c.proposal_id == proposal_id)
        rows = await self._reader.run(lambda connection: rows_of(connection, statement))
        return _proposal(rows[0]) if rows else None

    async def history(
        self,
        pump_id: str,
        *,
        before: int | None = None,
        version: int | None = None,
        count_max: int = LISTED_MAX,
    ) -> tuple[LimitVersion, ...]:
        """Return what ever stood in the limits table for a pump, the newest first, at most `count_max`.

        `before`: only what was recorded before that `history_id`. `version`: only that version.

        Raises:
            DeviceError: the database is away or slow.

        """
        columns = pump_safety_limits_history.c
        statement = (
            select(pump_safety_limits_history)
            .where(columns.pump_id == pump_id)
            .order_by(columns.history_id.desc())
            .limit(count_max)
        )
        if before is not None:
            statement = statement.where(columns.history_id < before)
        if version is not None:
            statement = statement.where(columns.version == version)
        rows = await self._reader.run(lambda connection: rows_of(connection, statement))
        return tuple(_version(row) for row in rows)


async def lock(connection: AsyncConnection) -> None:
    """Let one change of limits be made at a time (SQLite has one writing transaction at a time anyway)."""
    if connection.dialect.name == "postgresql":
        await connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})


async def read_book(connection: AsyncConnection, pump_id: str, *, asked: str = "") -> LimitsBook:
    """Read one pump's book in the connection's transaction.

    Raises:
        UnknownSubjectError: there is no such pump.

    """
    pump = await rows_of(
        connection, select(pumps.c.pump_id, pumps.c.control_type).where(pumps.c.pump_id == pump_id)
    )
    if not pump:
        raise UnknownSubjectError(f"pump {pump_id!r} is not known (see /api/v1/pumps)")
    control_type = _control_type(pump[0])
    envelopes = await rows_of(connection, _of(pump_commissioning_envelopes, pump_id))
    envelope = envelopes[0] if envelopes else None
    limits = await rows_of(connection, _of(pump_safety_limits, pump_id))
    current, _ = in_force(pump_id, control_type, limits, envelope)
    columns = pump_limit_proposals.c
    of_pump = (columns.pump_id == pump_id) & (columns.state == ProposalState.PROPOSED.value)
    found = await rows_of(
        connection, select(pump_limit_proposals).where(of_pump | (columns.proposal_id == asked))
    )
    proposals = [_proposal(row) for row in found]
    # Also of rows that somebody deleted: a number is never used for another content.
    ever = pump_safety_limits_history.c
    highest = (
        await connection.execute(select(func.max(ever.version)).where(ever.pump_id == pump_id))
    ).scalar()
    return LimitsBook(
        pump_id=pump_id,
        control_type=control_type,
        current=current,
        version_max=int(highest or 0),
        envelope=None if envelope is None else envelope_of(envelope),
        proposals=tuple(each for each in proposals if each.pump_id == pump_id),
        taken_by=next((each.pump_id for each in proposals if each.pump_id != pump_id), ""),
    )


def envelope_of(row: Row) -> Envelope:
    """Return an envelope's row by limit key."""
    return Envelope(
        bounds={name: row[key.bound] for name, key in LIMIT_KEYS.items()},
        commissioned_by=row["commissioned_by"],
        commissioned_at=row["commissioned_at"],
    )


def _control_type(row: Row) -> ControlType:
    try:
        return member(row, "control_type", ControlType)
    except BadCellError as bad:
        raise DeviceError(f"pumps/{row['pump_id']}: {bad.column}: {bad.reason}") from None


async def _write(connection: AsyncConnection, outcome: Outcome) -> None:
    if outcome.new_proposal is not None:
        await connection.execute(insert(pump_limit_proposals).values(_row(outcome.new_proposal)))
    for closed in outcome.closed:
        done = await connection.execute(
            update(pump_limit_proposals)
            .where(
                pump_limit_proposals.c.proposal_id == closed.proposal_id,
                pump_limit_proposals.c.state == ProposalState.PROPOSED.value,
            )
            .values(
                state=closed.state.value,
                closed_by=closed.closed_by,
                closed_at=closed.closed_at,
                close_reason=closed.close_reason,
                version=closed.version,
            )
        )
        if done.rowcount != 1:
            raise StaleReadError(f"proposal {closed.proposal_id} was closed meanwhile")
    if outcome.new_version is not None:
        await _append(connection, outcome.new_version)
    if outcome.audits:
        await audit.append(connection, outcome.audits)


async def _append(connection: AsyncConnection, new: NewVersion) -> None:
    values: dict[str, Any] = dict(new.values)
    if "max_starts_per_hour" in values:
        values["max_starts_per_hour"] = int(values["max_starts_per_hour"])
    row = {
        **values,
        "pump_id": new.pump_id,
        "version": new.version,
        "set_by": new.set_by,
        "set_at": new.set_at,
        "approved_by": new.approved_by,
        "approved_at": new.approved_at,
    }
    taken = select(pump_safety_limits.c.version).where(
        pump_safety_limits.c.pump_id == new.pump_id, pump_safety_limits.c.version == new.version
    )
    try:
        # By its own savepoint on PostgreSQL, so that the reason can still be asked for.
        async with connection.begin_nested():
            await connection.execute(insert(pump_safety_limits).values(row))
    except IntegrityError as error:
        if (await connection.execute(taken)).first() is not None:
            # Somebody with SQL was quicker: the decision is made again on what is there now.
            raise StaleReadError(f"version {new.version} was written meanwhile") from error
        raise


def _row(proposal: LimitProposal) -> dict[str, Any]:
    return {
        "proposal_id": proposal.proposal_id,
        "pump_id": proposal.pump_id,
        "base_version": proposal.base_version,
        "changes": dict(proposal.changes),
        "reason": audit.clean(proposal.reason),
        "proposed_by": audit.clean(proposal.proposed_by),
        "proposed_at": proposal.proposed_at,
        "expires_at": proposal.expires_at,
        "source_address": audit.clean(proposal.source_address),
    }


def _proposal(row: Row) -> LimitProposal:
    changes = row["changes"]
    if isinstance(changes, str):
        changes = json.loads(changes)
    return LimitProposal(
        **{
            **row,
            "pump_id": row["pump_id"].lower(),
            "changes": {str(name): float(value) for name, value in changes.items()},
            "state": ProposalState(row["state"]),
        }
    )


def _version(row: Row) -> LimitVersion:
    return LimitVersion(
        history_id=row["history_id"],
        version=row["version"],
        operation=row["operation"],
        recorded_at=row["recorded_at"],
        values={name: row[name] for name in LIMIT_KEYS},
        set_by=row["set_by"],
        set_at=row["set_at"],
        approved_by=row["approved_by"],
        approved_at=row["approved_at"],
    )


def _of(table: Any, pump_id: str) -> Select[Any]:
    return select(table).where(table.c.pump_id == pump_id)
