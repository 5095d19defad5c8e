"""What a client asks of a subscription, brought into our bounds."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from protocols.opcua import limits
from protocols.opcua.subscriptions import publishing_interval_ms, revised_counts

COUNTS = st.integers(0, 0xFFFF_FFFF)


@given(st.floats(), COUNTS, COUNTS)
def test_every_wish_ends_in_bounds(wanted_ms: float, keep_alive: int, lifetime: int) -> None:
    """OPC-5: interval, keep-alive and lifetime are bounded, and a lifetime holds three keep-alives."""
    interval_ms = publishing_interval_ms(wanted_ms)
    assert limits.PUBLISHING_INTERVAL_MS_MIN <= interval_ms <= limits.PUBLISHING_INTERVAL_MS_MAX
    alive, life = revised_counts(interval_ms, keep_alive=keep_alive, lifetime=lifetime)
    assert alive >= 1
    assert 3 * alive <= life
    assert life * interval_ms <= limits.LIFETIME_MS_MAX


def test_a_reasonable_wish_is_granted() -> None:
    """OPC-1: a SCADA client gets what it asks for."""
    assert publishing_interval_ms(500.0) == 500.0
    assert revised_counts(500.0, keep_alive=10, lifetime=100) == (10, 100)
