"""The mailbox: bounded, two lanes, the newest of a kind."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from supervisors.mailbox import Asker, Envelope, Mailbox


def _tell(message: str) -> Envelope[str]:
    return Envelope(message)


def _ask(message: str, asker: str) -> Envelope[str]:
    return Envelope(message, (Asker(asker, 10),), told=False)


def _drain(mailbox: Mailbox[str]) -> list[str]:
    taken = []
    while (envelope := mailbox.take()) is not None:
        taken.append(str(envelope.message))
    return taken


def test_urgent_overtakes_and_each_lane_keeps_its_order() -> None:
    """SUP-6: an emergency stop is taken before everything that waits."""
    mailbox: Mailbox[str] = Mailbox(4)
    mailbox.put(_tell("a"))
    mailbox.put(_tell("b"))
    mailbox.put(_tell("stop 1"), urgent=True)
    mailbox.put(_tell("stop 2"), urgent=True)
    assert _drain(mailbox) == ["stop 1", "stop 2", "a", "b"]


def test_a_full_lane_refuses_and_counts_and_the_other_still_takes() -> None:
    """SUP-3: what is refused is counted; a full ordinary lane does not keep a stop out."""
    mailbox: Mailbox[str] = Mailbox(2)
    assert mailbox.put(_tell("a"))
    assert mailbox.put(_tell("b"), key="k")
    assert not mailbox.put(_tell("c"))
    assert mailbox.put(_tell("d"), key="k"), "the newer one takes the place of the elder"
    assert mailbox.put(_tell("stop"), urgent=True)
    assert (mailbox.counts.refused, mailbox.counts.coalesced, mailbox.counts.waiting) == (1, 1, 3)
    assert _drain(mailbox) == ["stop", "a", "d"]


def test_no_asker_is_lost_when_a_newer_one_replaces_his_message() -> None:
    """SUP-6: who asked for the replaced message shares the newer one's answer."""
    mailbox: Mailbox[str] = Mailbox(4)
    mailbox.put(_ask("old", "first"), key="k")
    mailbox.put(_tell("newer"), key="k")
    mailbox.put(_ask("newest", "second"), key="k")
    envelope = mailbox.take()
    assert envelope is not None
    assert envelope.message == "newest"
    assert [asker.token for asker in envelope.askers] == ["first", "second"]
    assert envelope.told, "somebody told it, so it is handled even if both askers are gone"


_PUTS = st.lists(st.tuples(st.booleans(), st.sampled_from([None, "x", "y"])), max_size=60)


@given(puts=_PUTS, bound=st.integers(1, 8))
def test_bounds_hold_and_nothing_vanishes(puts: list[tuple[bool, str | None]], bound: int) -> None:
    """SUP-6: each put is taken, refused or coalesced, and no lane grows past its bound."""
    mailbox: Mailbox[str] = Mailbox(bound)
    for number, (urgent, key) in enumerate(puts):
        mailbox.put(_ask(str(number), str(number)), urgent=urgent, key=key)
        assert len(mailbox) <= 2 * bound
    counts = mailbox.counts
    askers = 0
    while (envelope := mailbox.take()) is not None:
        assert len(envelope.askers) <= bound
        askers += len(envelope.askers)
    assert askers + counts.refused == len(puts)
