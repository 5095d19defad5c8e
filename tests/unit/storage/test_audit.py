"""The audit chain: every change, every gap and every exchange is found, and the rule is the documented one."""

import hashlib
import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from actors.vocabulary import Severity
from actors.vocabulary.audit_trail import GENESIS
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


def wire(entry: AuditRecord, *, form: int = 2) -> dict[str, Any]:
    """A record as it is read back: its time as it is hashed."""
    row = {**audit.row_of(entry), "at": audit.utc_text(entry.at)}
    return row if form == 2 else {**row, "format": form, "clauses": ""}


def chain(count: int, *, old: int = 0) -> list[dict[str, Any]]:
    """`count` records, the first `old` of them in the format of before 0008."""
    previous, rows = GENESIS, []
    for number in range(1, count + 1):
        row = wire(record(number, {"n": number}), form=1 if number <= old else 2)
        own = audit.digest(previous, number, row)
        rows.append({**row, "sequence": number, "previous_hash": previous, "hash": own})
        previous = own
    return rows


def test_the_hash_is_the_documented_one() -> None:
    """AUD-1: an outsider with a JSON library and SHA-256 gets the same hash from the documented columns."""
    (row,) = chain(1)
    covered = {name: row[name] for name in audit.COVERED_BY[2]}
    assert covered["at"] == "2026-06-01T12:00:00.000250Z"
    assert covered["after"] == '{"n":1}'
    told = json.dumps(covered, sort_keys=True, separators=(",", ":"))
    assert row["hash"] == hashlib.sha256(f"calejo-audit/2\n{'0' * 64}\n1\n{told}".encode()).hexdigest()


def test_a_whole_chain_holds() -> None:
    """AUD-1: verify counts it and names its head."""
    rows = chain(7)
    assert audit.verify_rows(rows) == audit.Verdict(count=7, head=rows[-1]["hash"])
    assert audit.verify_rows([]) == audit.Verdict(count=0, head=GENESIS)


@given(
    place=st.integers(0, 6),
    column=st.sampled_from([*audit.COVERED_BY[2], "hash", "previous_hash", "sequence"]),
    value=st.none() | st.text() | st.integers() | st.floats(allow_nan=False) | st.binary(),
    old=st.integers(0, 7),
)
def test_any_change_is_found_where_it_is(place: int, column: str, value: object, old: int) -> None:
    """AUD-1: one cell changed into whatever a database may hold breaks the chain at its record, in either format."""
    rows = chain(7, old=old)
    assume(value != rows[place][column])
    rows[place][column] = value
    verdict = audit.verify_rows(rows)
    assert verdict.broken_at == place + 1, verdict


def test_the_format_never_goes_back() -> None:
    """AUD-1: records of before 0008 stay valid; behind a newer one nobody writes in the weaker format again."""
    assert audit.verify_rows(chain(5, old=3)).broken_at is None
    head, count = chain(4, old=2)[-1]["hash"], 4
    row = wire(record(5), form=1)
    row |= {"sequence": 5, "previous_hash": head, "hash": audit.digest(head, 5, row)}
    verdict = audit.verify_rows([*chain(count, old=2), row])
    assert (verdict.broken_at, "goes back" in verdict.reason) == (5, True)


@given(st.lists(st.text(), min_size=5, max_size=5))
def test_two_records_never_share_their_canonical_text(words: list[str]) -> None:
    """AUD-1: no text in one field can be mistaken for a border between fields."""
    names = ("actor", "source_address", "object_id", "outcome", "correlation_id")
    one = wire(record(1)) | dict(zip(names, words, strict=True))
    for at, name in enumerate(names):
        for other in names[at + 1 :]:
            moved = one | {name: one[name] + one[other], other: ""}
            if moved != one:
                assert audit.digest(GENESIS, 1, moved) != audit.digest(GENESIS, 1, one)


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


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    # Keys that become the same key are not of this test: NUL is not stored.
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(st.characters(codec="utf-8", exclude_characters="\0")), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(value=VALUES)
def test_canonical_text_is_one_fixed_point(value: object) -> None:
    """AUD-1: ASCII, read back and encoded again the same, whatever order its keys came in."""
    told = audit.canonical(value)
    assert all(" " <= each <= "~" for each in told)
    assert audit.canonical(json.loads(told)) == told
    assert audit.canonical(_backwards(value)) == told


def _backwards(value: Any) -> Any:
    """The same value, the keys of its objects in the other order."""
    match value:
        case dict():
            return {key: _backwards(value[key]) for key in reversed([*value])}
        case list():
            return [_backwards(part) for part in value]
        case _:
            return value


@given(st.lists(st.integers(0, 6), max_size=9))
def test_nothing_but_a_beginning_of_the_chain_holds(places: list[int]) -> None:
    """AUD-1: of all ways to choose, repeat and order records only a prefix verifies, and that needs a checkpoint."""
    rows = chain(7, old=2)
    verdict = audit.verify_rows([rows[place] for place in places])
    kept = 0
    while kept < len(places) and places[kept] == kept:
        kept += 1
    assert verdict.count == kept
    assert (verdict.broken_at is None) is (kept == len(places))
