"""Who gets a session on the OPC UA endpoint, and which services it opens."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest
from asyncua import ua

from actors.vocabulary.access import UserRole
from actors.vocabulary.callers import Caller
from protocols.opcua import limits
from protocols.opcua.identity import anonymous, current_caller
from protocols.opcua.ids import standard
from tests.wire.opcua.served import (
    OPEN,
    PUMP,
    Fault,
    Raw,
    hello,
    served,
    until,
)

REFUSED_SERVICES: list[tuple[Any, Any]] = [
    (ua.AddNodesRequest, ua.AddNodesResponse),
    (ua.DeleteNodesRequest, ua.DeleteNodesResponse),
    (ua.AddReferencesRequest, ua.AddReferencesResponse),
    (ua.DeleteReferencesRequest, ua.DeleteReferencesResponse),
    (ua.HistoryUpdateRequest, ua.HistoryUpdateResponse),
    (ua.RegisterServerRequest, ua.RegisterServerResponse),
    (ua.RegisterServer2Request, ua.RegisterServer2Response),
    (ua.TransferSubscriptionsRequest, ua.TransferSubscriptionsResponse),
    (ua.QueryFirstRequest, ua.QueryFirstResponse),
    (ua.CancelRequest, ua.CancelResponse),
]


def test_services_that_are_not_ours_are_refused() -> None:
    """OPC-5: nobody adds nodes, rewrites the past, registers servers or takes subscriptions over."""

    async def story() -> None:
        async with served() as publisher:
            for one in (await Raw.channel_to(publisher), await Raw.session_to(publisher)):
                for request_type, response_type in REFUSED_SERVICES:
                    with pytest.raises(Fault, match="BadServiceUnsupported"):
                        await one.ask(request_type(), response_type)
            sessions = publisher.endpoint._sessions
            assert sessions is not None
            assert len(sessions._known_servers) == 1  # ourselves

    asyncio.run(story())


def test_only_the_offered_policy_opens_a_channel() -> None:
    """OPC-4, OPC-5: another mode or policy than the offered one gets no channel, thus no service."""

    async def story() -> None:
        async with served() as publisher:
            for mode, uri in (
                (ua.MessageSecurityMode.Sign, None),
                (ua.MessageSecurityMode.SignAndEncrypt, None),
                (ua.MessageSecurityMode.None_, b"http://opcfoundation.org/UA/SecurityPolicy#Basic256Sha256"),
                (ua.MessageSecurityMode.None_, b"http://opcfoundation.org/UA/SecurityPolicy#Basic128Rsa15"),
                (ua.MessageSecurityMode.None_, b"nonsense"),
            ):
                one = await Raw.connect(publisher)
                one.writer.write(hello())
                assert (await one.message())[0] == b"ACK"
                with pytest.raises(AssertionError, match="ERR"):
                    await one.open_channel(mode=mode, uri=uri)
                await one.ended()
            # What is not offered is refused even where asyncua takes it for its default.
            listener = publisher.endpoint._listener
            assert listener is not None
            offered = listener.policies[:]
            listener.policies.clear()
            one = await Raw.connect(publisher)
            one.writer.write(hello())
            assert (await one.message())[0] == b"ACK"
            with pytest.raises(AssertionError, match="ERR"):
                await one.open_channel()
            listener.policies.extend(offered)
            one = await Raw.channel_to(publisher)
            endpoints = (await one.ask(ua.GetEndpointsRequest(), ua.GetEndpointsResponse)).Endpoints
            assert [(e.SecurityMode, e.SecurityPolicyUri.rpartition("#")[2]) for e in endpoints] == [
                (ua.MessageSecurityMode.None_, "None")
            ]
            assert [t.TokenType for t in endpoints[0].UserIdentityTokens] == [ua.UserTokenType.Anonymous]

    asyncio.run(story())


def test_nobody_is_an_administrator() -> None:
    """SEC-2: names, passwords and certificates are refused, `admin` above all; asyncua took any password."""

    async def story() -> None:
        async with served() as publisher:
            for identity in (
                ua.UserNameIdentityToken(UserName="admin", Password=b"x"),
                ua.UserNameIdentityToken(UserName="", Password=b""),
                ua.X509IdentityToken(CertificateData=b"x"),
                ua.IssuedIdentityToken(TokenData=b"x"),
            ):
                one = await Raw.channel_to(publisher)
                await one.create_session()
                with pytest.raises(Fault, match="BadIdentityTokenRejected"):
                    await one.activate(identity)
                with pytest.raises(Fault, match="BadSessionNotActivated"):
                    await one.read("/north/failsafe")
                await one.close()

    asyncio.run(story())


def test_services_need_the_session_s_own_token() -> None:
    """OPC-5: no session, a guessed token, a token of another channel, a closed session: refused."""

    async def story() -> None:
        async with served() as publisher:
            one = await Raw.channel_to(publisher)
            with pytest.raises(Fault, match="BadSessionIdInvalid"):
                await one.read("/north/failsafe")
            victim = await Raw.session_to(publisher)
            for number in range(990, 1030):  # asyncua counts tokens up from 1000
                one.token = standard(number)
                with pytest.raises(Fault, match="BadSessionIdInvalid"):
                    await one.activate()
            one.token = victim.token
            with pytest.raises(Fault, match="BadSessionIdInvalid"):
                await one.read("/north/failsafe")
            token, victim.token = victim.token, standard(1000)
            with pytest.raises(Fault, match="BadSessionIdInvalid"):
                await victim.read("/north/failsafe")
            victim.token = token
            close = ua.CloseSessionRequest()
            await victim.ask(close, ua.CloseSessionResponse)
            with pytest.raises(Fault, match="BadSessionIdInvalid"):
                await victim.read("/north/failsafe")

    asyncio.run(story())


@pytest.mark.parametrize("bound", ["sessions_max", "sessions_per_address_max"])
def test_sessions_are_bounded_one_per_channel(bound: str) -> None:
    """OPC-5: repeated CreateSession grows nothing; a session that lost its connection gives way to a new one."""

    async def story() -> None:
        async with served(rules=msgspec.structs.replace(OPEN, **{bound: 3})) as publisher:
            sessions = publisher.endpoint._sessions
            assert sessions is not None
            one = await Raw.session_to(publisher)
            for _ in range(5):
                with pytest.raises(Fault, match="BadTooManySessions"):
                    await one.create_session()
            others = [await Raw.session_to(publisher) for _ in range(2)]
            late = await Raw.channel_to(publisher)
            with pytest.raises(Fault, match="BadTooManySessions"):
                await late.create_session()
            assert len(sessions.sessions) == 3
            # One with a subscription loses its connection: kept for its return, until its place is needed.
            await others[0].subscribe()
            await others[0].close()
            await until(lambda: any(s.channel is None for s in sessions.sessions), what="detached")
            assert len(sessions.sessions) == 3
            await late.create_session()
            await late.activate()
            assert len(sessions.sessions) == 3
            assert sessions.bounded_subscriptions.subscriptions == {}
            # One without subscriptions is gone with its connection.
            await others[1].close()
            await until(lambda: len(sessions.sessions) == 2, what="closed with its connection")

    asyncio.run(story())


def test_a_client_that_lost_its_connection_takes_its_session_up_again() -> None:
    """OPC-5: with its own token a client goes on where it was, its subscription included."""

    async def story() -> None:
        async with served() as publisher:
            first = await Raw.session_to(publisher)
            publisher.show({f"{PUMP}/setpoint": 1.0})
            subscription = (await first.subscribe(RequestedPublishingInterval=50.0)).SubscriptionId
            await first.monitor(subscription, f"{PUMP}/setpoint")
            assert await first.publish() == [(0, 1.0)]
            await first.close()
            await until(lambda: publisher.endpoint.clients == 0, what="gone")
            publisher.show({f"{PUMP}/setpoint": 2.0})
            second = await Raw.channel_to(publisher)
            second.token = first.token
            await second.activate()
            assert await second.publish() == [(0, 2.0)]

    asyncio.run(story())


def test_no_session_is_immortal() -> None:
    """OPC-5: a vanished client's session ends within a minute, whatever time-out it asked for."""

    async def story() -> None:
        async with served() as publisher:
            for timeout_ms in (float("nan"), float("inf"), -1.0, 0.0, 1e300):
                one = await Raw.channel_to(publisher)
                answer = await one.create_session(RequestedSessionTimeout=timeout_ms)
                assert 5_000 <= answer.RevisedSessionTimeout <= 60_000, timeout_ms
                await one.activate()

    asyncio.run(story())


def test_an_idle_session_ends_with_its_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    """OPC-5: a client that keeps its connection but says nothing loses session, subscriptions and place."""
    monkeypatch.setattr(limits, "SESSION_TIMEOUT_S_MIN", 0.5)
    monkeypatch.setattr(limits, "IDLE_CONNECTION_S", 0.5)

    async def story() -> None:
        async with served() as publisher:
            sessions = publisher.endpoint._sessions
            assert sessions is not None
            one = await Raw.channel_to(publisher)
            await one.create_session(RequestedSessionTimeout=500.0)
            await one.activate()
            await one.subscribe()
            await until(lambda: not sessions.sessions, what="the session timed out")
            assert sessions.bounded_subscriptions.subscriptions == {}
            assert await one.ended() is not None
            await until(lambda: publisher.endpoint.clients == 0, what="the connection is closed")

    asyncio.run(story())


def test_a_request_knows_who_is_behind_it() -> None:
    """SEC-2: what serves a request sees its session's caller, and what comes after it sees nobody."""

    async def story() -> None:
        async with served() as publisher:
            seen: list[Caller] = []
            publisher.on_refresh = lambda: seen.append(current_caller())
            one = await Raw.session_to(publisher)
            await one.read("/north/failsafe")
            assert seen == [anonymous({UserRole.FIELD, UserRole.OPERATOR})]
            with pytest.raises(LookupError):
                current_caller()

    asyncio.run(story())
