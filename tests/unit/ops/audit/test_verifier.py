"""The verifier for outsiders and Calejo's own code agree, on whatever a record may hold and on every signature."""

import importlib.util
import string
from types import ModuleType
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from storage import audit
from tests.unit.ops.audit.trail import VERIFIER


def _loaded() -> ModuleType:
    found = importlib.util.spec_from_file_location("verify_audit_apart", VERIFIER)
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


APART: Any = _loaded()
TEXTS = st.text(st.characters(codec="utf-8") | st.sampled_from('\0\x7f"\\\u2028\U0001f600'))
RECORDS = st.fixed_dictionaries(
    {name: TEXTS for name in audit.COVERED_BY[2] if name not in {"format", "before", "after"}}
    | {"before": TEXTS | st.none(), "after": TEXTS | st.none(), "format": st.sampled_from([1, 2])}
)
HEADS = st.text(string.hexdigits.lower()[:16], min_size=64, max_size=64)


@given(record=RECORDS, head=HEADS, sequence=st.integers(1, 2**62))
def test_both_make_the_same_hash(record: dict[str, Any], head: str, sequence: int) -> None:
    """AUD-1: two implementations of the specification, one hash."""
    assert APART.digest(head, sequence, record) == audit.digest(head, sequence, record)


@given(record=RECORDS, head=HEADS)
def test_what_is_hashed_is_ascii_and_reads_back(record: dict[str, Any], head: str) -> None:
    """AUD-1: canonical text is ASCII without control characters, and nothing in it is lost."""
    import json

    told = APART.canonical({name: record[name] for name in audit.COVERED_BY[record["format"]]})
    assert all(" " <= each <= "~" for each in told)
    assert json.loads(told) == {name: record[name] for name in audit.COVERED_BY[record["format"]]}


def test_the_script_knows_the_formats_that_calejo_writes() -> None:
    """AUD-1: a new format in the code without one in the script would make good trails look broken."""
    assert APART.COVERED.keys() == audit.COVERED_BY.keys()
    for form, names in audit.COVERED_BY.items():
        assert set(APART.COVERED[form]) == set(names)


@settings(max_examples=12, deadline=None)
@given(seed=st.binary(min_size=32, max_size=32), text=st.binary(max_size=200), bit=st.integers(0, 511))
def test_the_arithmetic_agrees_with_the_library(seed: bytes, text: bytes, bit: int) -> None:
    """AUD-1: without the package `cryptography` signatures are judged alike; one bit changed is refused."""
    private = Ed25519PrivateKey.from_private_bytes(seed)
    public, signature = private.public_key().public_bytes_raw(), private.sign(text)
    assert APART.verified_by_arithmetic(public, signature, text)
    flipped = bytearray(signature)
    flipped[bit // 8] ^= 1 << bit % 8
    by_library = APART.verifier(arithmetic=False)
    assert by_library(public, bytes(flipped), text) is False
    assert APART.verified_by_arithmetic(public, bytes(flipped), text) is False
    assert APART.verified_by_arithmetic(public, signature, text + b"x") is False


@pytest.mark.parametrize(
    ("public", "signature", "text"),
    [
        (  # RFC 8032, 7.1, TEST 2
            "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
            (
                "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
                "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"
            ),
            "72",
        ),
        (  # TEST 3
            "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
            (
                "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac"
                "18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a"
            ),
            "af82",
        ),
    ],
)
def test_the_vectors_of_the_standard(public: str, signature: str, text: str) -> None:
    """AUD-1: RFC 8032, section 7.1."""
    arguments = [bytes.fromhex(each) for each in (public, signature, text)]
    assert APART.verified_by_arithmetic(*arguments)
    assert APART.verifier(arithmetic=False)(*arguments)


@pytest.mark.parametrize("length", [0, 31, 33])
def test_what_is_no_key_is_refused(length: int) -> None:
    """AUD-1: neither a short key nor a point that is none."""
    assert not APART.verified_by_arithmetic(bytes(length), bytes(64), b"")
    assert not APART.verified_by_arithmetic(b"\xff" * 32, bytes(64), b"")
