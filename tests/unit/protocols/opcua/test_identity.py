"""Who is behind a request: told inside it, and nobody outside."""

from __future__ import annotations

import asyncio

import pytest

from actors.vocabulary.access import Operation, UserRole, operations_of
from actors.vocabulary.callers import Caller, Shown
from protocols.opcua.identity import anonymous, answering, current_caller


def test_outside_a_request_nobody_asks() -> None:
    """SEC-2: what is done outside a request, or before a session is activated, is nobody's and raises."""
    with pytest.raises(LookupError):
        current_caller()
    with answering(None), pytest.raises(LookupError):
        current_caller()


def test_two_requests_at_once_are_not_mistaken() -> None:
    """SEC-2: each task sees its own caller, also while both wait."""

    async def story() -> None:
        both = asyncio.Barrier(2)

        async def request(name: str) -> str:
            with answering(Caller(name=name, roles=frozenset({UserRole.OPERATOR}), how=Shown.PASSWORD)):
                await both.wait()
                return current_caller().name

        assert list(await asyncio.gather(request("anna"), request("bert"))) == ["anna", "bert"]

    asyncio.run(story())


def test_a_caller_may_what_its_roles_may_within_its_scope() -> None:
    """SEC-2: one permission table; several roles add up, and the scope of a key narrows them."""
    both = anonymous({UserRole.FIELD, UserRole.OPERATOR})
    assert {each for each in Operation if both.may(each)} == operations_of(UserRole.FIELD) | operations_of(
        UserRole.OPERATOR
    )
    assert not any(anonymous(()).may(each) for each in Operation)
    scoped = Caller(
        name="scada",
        roles=frozenset({UserRole.OPERATOR}),
        how=Shown.KEY,
        proof="k1",
        operations=frozenset({Operation.READ_POINTS, Operation.WRITE_FEEDBACK}),
    )
    assert {each for each in Operation if scoped.may(each)} == {Operation.READ_POINTS}
