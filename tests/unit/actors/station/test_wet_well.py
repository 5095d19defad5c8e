"""One well seen by several controllers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.messages import JudgedValue
from actors.station.wet_well import TOLERANCE_M, merged_level
from actors.vocabulary import Quality


def level(text: str) -> JudgedValue:
    """`1.50@2` is GOOD 1.50 m, 2 s old; `1.50@40!` the same but BAD; `-` was never written."""
    if text == "-":
        return JudgedValue(value=None, quality=Quality.BAD, age_s=None, why="never written since our start")
    value, age = text.rstrip("!").split("@")
    quality = Quality.BAD if text.endswith("!") else Quality.GOOD
    return JudgedValue(
        value=float(value), quality=quality, age_s=float(age), why="stale" if quality is Quality.BAD else ""
    )


@pytest.mark.parametrize(
    ("one", "other", "value", "quality"),
    [
        ("1.50@2", "1.55@1", 1.55, Quality.GOOD),  # the newest GOOD one
        ("1.50@1", "1.55@2", 1.50, Quality.GOOD),
        ("1.50@2", "-", 1.50, Quality.GOOD),  # one is enough
        ("1.50@5", "9.99@1!", 1.50, Quality.GOOD),  # a BAD one is no witness, however young
        ("1.50@1", "1.70@2", 1.50, Quality.UNCERTAIN),  # two GOOD ones that disagree
        ("1.50@40!", "1.60@35!", 1.60, Quality.BAD),
        ("-", "-", None, Quality.BAD),
    ],
)
def test_merging_two_controllers(one: str, other: str, value: float | None, quality: Quality) -> None:
    """CTL-4: newest GOOD wins, disagreement is UNCERTAIN, without a GOOD one it is not GOOD either."""
    merged = merged_level({"p-1": level(one), "p-2": level(other)})
    assert (merged.value, merged.quality) == (value, quality)


def test_a_disagreement_names_both() -> None:
    """CTL-4: who reads the reason knows which transmitter to look at."""
    merged = merged_level({"p-1": level("1.50@1"), "p-2": level("1.70@2")})
    assert merged.why == "controllers disagree: p-1 1.500 m, p-2 1.700 m"


judged = st.builds(
    lambda value, quality, age: JudgedValue(value=value, quality=quality, age_s=age),
    st.floats(0, 5),
    st.sampled_from(Quality),
    st.floats(0, 100),
)


@given(st.dictionaries(st.sampled_from(["p-1", "p-2", "p-3", "p-4"]), judged))
def test_good_means_that_all_good_ones_agree(levels: dict[str, JudgedValue]) -> None:
    """CTL-4: a merged level is GOOD only with a GOOD witness and no GOOD one far from it."""
    merged = merged_level(levels)
    witnesses = [
        item.value for item in levels.values() if item.quality is Quality.GOOD and item.value is not None
    ]
    if merged.quality is Quality.GOOD:
        assert merged.value is not None
        assert merged.value in witnesses
        assert max(abs(value - merged.value) for value in witnesses) <= TOLERANCE_M
    elif witnesses:
        assert max(witnesses) - min(witnesses) > TOLERANCE_M
