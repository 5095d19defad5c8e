"""The audit chain: every change, every gap and every exchange is found, and the rule is the documented one."""

import hashlib
import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.vocabulary import Severity
from actors.vocabulary.records import AuditRecord
from storage import audit

NOON = datetime(2026, 6, 1, 12, 0, 0, 250, tzinfo=UTC)


def record(number: int, after: dict[str, Any] | None = None) -> AuditRecord:
    return AuditRecord(
        record_id=f"a{number}",
        at=NOON,
        event_type="MODE_SET",
        actor="änna",
        source_address="127.0.0.1",
        object_id="p1",
        outcome="done",
        severity=Severity.LOW,
        after=after,
    )


def chain(count: int) -> list[dict[str, Any]]:
    previous, rows = audit.GENESIS, []
    for number in range(1, count + 1):
        row = audit.row_of(record(number, {"n": number}))
        own = audit.link(previous, number, row)
        rows.append({**row, "sequence": number, "previous_hash": previous, "hash": own})
        previous = own
    return rows


def test_the_hash_is_the_documented_one() -> None:
    """AUD-1: an outsider with a JSON library and SHA-256 gets the same hash from the documented columns."""
    (row,) = chain(1)
    covered = {name: row[name] for name in audit.COVERED} | {"at": "2026-06-01T12:00:00.000250Z"}
    assert covered["after"] == '{"n":1}'
    told = json.dumps(covered, sort_keys=True, separators=(",", ":"))
    assert row["hash"] == hashlib.sha256(f"{'0' * 64}\n1\n{told}".encode()).hexdigest()


def test_a_whole_chain_holds() -> None:
    """AUD-1: verify counts it and names its head."""
    rows = chain(7)
    assert audit.verify_rows(rows) == audit.Verdict(count=7, head=rows[-1]["hash"])
    assert audit.verify_rows([]) == audit.Verdict(count=0, head=audit.GENESIS)


@given(place=st.integers(0, 6), column=st.sampled_from([*audit.COVERED, "hash", "previous_hash"]))
def test_any_change_is_found_where_it_is(place: int, column: str) -> None:
    """AUD-1: one changed cell breaks the chain at its record."""
    rows = chain(7)
    value = rows[place][column]
    rows[place][column] = value.replace(microsecond=9) if isinstance(value, datetime) else f"{value or ''}x"
    assert audit.verify_rows(rows).broken_at == place + 1


@given(place=st.integers(0, 5))
def test_a_missing_or_exchanged_record_is_found(place: int) -> None:
    """AUD-1: deletion (but of the tail, which needs a checkpoint kept elsewhere), exchange, renumbering."""
    rows = chain(7)
    assert audit.verify_rows([*rows[:place], *rows[place + 1 :]]).broken_at == place + 1
    renumbered = [{**row, "sequence": n} for n, row in enumerate([*rows[:place], *rows[place + 1 :]], 1)]
    assert audit.verify_rows(renumbered).broken_at == place + 1
    exchanged = [*rows]
    exchanged[place], exchanged[place + 1] = exchanged[place + 1], exchanged[place]
    assert audit.verify_rows(exchanged).broken_at == place + 1


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ({"b": 1, "a": [True, None, 0.1]}, '{"a":[true,null,0.1],"b":1}'),
        ({"x": float("nan"), "y": float("-inf")}, '{"x":"nan","y":"-inf"}'),
        ({"x": "a\0b\ud800"}, '{"x":"a\\ufffdb?"}'),
        ({"x": NOON}, '{"x":"2026-06-01 12:00:00.000250+00:00"}'),
        ({1: "é"}, '{"1":"\\u00e9"}'),
    ],
)
def test_canonical_json(value: dict[Any, Any], told: str) -> None:
    """AUD-1: one text for one value, storable by both engines, whatever an author put into it."""
    assert audit.canonical(value) == told
