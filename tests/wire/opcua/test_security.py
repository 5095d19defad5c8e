"""OPC UA with certificates and users: who gets in, as whom; and everybody else, with the exact refusal."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from asyncua import Client, ua
from asyncua.common.utils import ServiceError
from asyncua.crypto.security_policies import (
    SecurityPolicyAes128Sha256RsaOaep,
    SecurityPolicyBasic256,
)
from cryptography.hazmat.primitives.serialization import Encoding

from actors.vocabulary import DeviceError
from actors.vocabulary.access import UserRole
from actors.vocabulary.callers import Caller, Shown
from actors.vocabulary.pki import UserCertificate
from ops.kit.clients import OpcUaWire
from ops.kit.papers import Papers
from protocols.opcua import limits
from protocols.opcua.admission import Rules
from protocols.opcua.identity import anonymous, current_caller
from protocols.opcua.ids import standard
from protocols.points import OPCUA_NAMESPACE_INDEX, OPCUA_NAMESPACE_URI
from tests.wire.opcua.papers import (
    CLIENT_URI,
    MODES,
    POLICIES,
    SAFE,
    Cabinet,
    client_of,
    guarded,
    paper,
    server_paper,
)
from tests.wire.opcua.served import Fault, Raw, node_id, until
from tests.wire.opcua.served import item as written

POINT = "/north/s1/p1/actual_speed"
BEAT = "/north/s1/scada_heartbeat"
STOP = "/north/s1/emergency_stop"
WITH_NONE = Rules(allow_none=True, anonymous_roles=frozenset({UserRole.READ_ONLY}), has_users=True)
ANNA: Any = {"user": "anna", "password": "correct horse"}


@asynccontextmanager
async def channel(client: Client) -> AsyncIterator[Client]:
    """Open a channel, without a session."""
    await client.connect_socket()
    try:
        await client.send_hello()
        await client.open_secure_channel()
        yield client
    finally:
        # What is refused is cut off by the server: there may be nothing left to close.
        await client.close_secure_channel()
        client.disconnect_socket()


async def refused(client: Client) -> str:
    """Return the name of the status code with which a client is refused."""
    try:
        await client.connect()
    except (ua.UaStatusCodeError, ServiceError) as error:
        return ua.StatusCode(ua.UInt32(error.code)).name
    except (ConnectionError, TimeoutError, asyncio.CancelledError) as error:
        return type(error).__name__
    await client.disconnect()
    return "let in"


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("mode", MODES)
def test_a_trusted_program_with_a_name_and_a_password_reads_and_writes(policy: Any, mode: Any) -> None:
    """OPC-4, SEC-2: both policies, signed and encrypted; the request knows who is behind it."""

    async def story() -> None:
        async with guarded() as one:
            seen: list[Caller] = []
            one.publisher.on_refresh = lambda: seen.append(current_caller())
            async with await client_of(one, policy=policy, mode=mode, **ANNA) as client:
                one.publisher.show({POINT: 31.5})
                assert await client.get_node(node_id(POINT)).read_value() == 31.5
                write = ua.WriteParameters()
                write.NodesToWrite = [
                    written(BEAT, 7, ua.VariantType.UInt16),
                    written(POINT, 12.5, ua.VariantType.Double),
                ]
                # An operator's screen has a heartbeat, and no feedback to give: that is the controller's.
                codes = [code.name for code in await client.uaclient.write(write)]
                assert codes == ["Good", "BadUserAccessDenied"]
                assert await client.get_node(node_id(BEAT)).read_value() == 7
                assert await client.get_node(node_id(POINT)).read_value() == 31.5
            assert {(each.name, each.roles, each.how) for each in seen} == {
                ("anna", frozenset({UserRole.OPERATOR}), Shown.PASSWORD)
            }

    asyncio.run(story())


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("mode", MODES)
def test_a_user_s_certificate_is_its_role(policy: Any, mode: Any) -> None:
    """OPC-4, SEC-2: a pinned user certificate gives its folder's role; one pinned for programs does not."""

    async def story() -> None:
        keys = {paper("user"): UserCertificate(name="plc-7", role=UserRole.FIELD)}
        async with guarded(Cabinet(paper("client"), users=keys)) as one:
            seen: list[Caller] = []
            one.publisher.on_refresh = lambda: seen.append(current_caller())
            async with await client_of(one, policy=policy, mode=mode, user_paper=paper("user")) as client:
                await client.get_node(node_id(POINT)).read_data_value(raise_on_bad_status=False)
            assert seen[0] == Caller(
                name="certificate:plc-7", roles=frozenset({UserRole.FIELD}), how=Shown.CERTIFICATE
            )
            stranger = await client_of(one, policy=policy, mode=mode, user_paper=paper("client"))
            assert await refused(stranger) == "BadIdentityTokenRejected"

    asyncio.run(story())


def test_what_is_offered_is_safe() -> None:
    """OPC-4: four secure endpoints and no other; None and anonymous appear only when they are switched on."""

    async def story() -> None:
        for rules, open_ones in ((SAFE, 0), (WITH_NONE, 1)):
            async with guarded(rules=rules) as one:
                raw = await Raw.channel_to(one.publisher)
                offered = (await raw.ask(ua.GetEndpointsRequest(), ua.GetEndpointsResponse)).Endpoints
                names = [(e.SecurityPolicyUri.rpartition("#")[2], e.SecurityMode.name) for e in offered]
                assert names[:4] == [
                    ("Aes256_Sha256_RsaPss", "SignAndEncrypt"),
                    ("Basic256Sha256", "SignAndEncrypt"),
                    ("Aes256_Sha256_RsaPss", "Sign"),
                    ("Basic256Sha256", "Sign"),
                ]
                assert names[4:] == [("None", "None_")] * open_ones
                kinds = {token.TokenType for each in offered[:4] for token in each.UserIdentityTokens}
                assert (ua.UserTokenType.Anonymous in kinds) == bool(open_ones)
                assert {ua.UserTokenType.UserName, ua.UserTokenType.Certificate} <= kinds
                # A password is never sent in the clear, whatever the channel does.
                for each in offered[:4]:
                    for token in each.UserIdentityTokens:
                        if token.TokenType is ua.UserTokenType.UserName:
                            assert token.SecurityPolicyUri == each.SecurityPolicyUri
                assert all(each.ServerCertificate == one.cabinet.shown.der for each in offered[:4])

    asyncio.run(story())


def test_without_security_there_is_nothing_but_discovery() -> None:
    """OPC-4 (FACTS: plaintext sessions work although only secure policies are listed): GetEndpoints, and no session."""

    async def story() -> None:
        async with guarded() as one:
            raw = await Raw.channel_to(one.publisher)
            assert (await raw.ask(ua.FindServersRequest(), ua.FindServersResponse)).Servers
            for attempt in (raw.create_session, raw.activate, lambda: raw.read(POINT)):
                with pytest.raises(Fault, match="BadSecurityPolicyRejected"):
                    await attempt()
            assert one.publisher.endpoint._sessions is not None
            assert one.publisher.endpoint._sessions.sessions == []
            told = one.users.reasons("CLIENT_REFUSED")
            asked = ("CreateSession", "ActivateSession", "Read")
            assert told == [f"{name}: BadSecurityPolicyRejected" for name in asked]
            assert one.publisher.endpoint.told["refused"] == 3

    asyncio.run(story())


def test_none_lets_in_anonymously_and_nobody_else() -> None:
    """OPC-4: where None is switched on a name and a password would be everybody's: refused unread."""

    async def story() -> None:
        async with guarded(rules=WITH_NONE) as one:
            assert len(one.publisher.endpoint.warnings) == 2
            seen: list[Caller] = []
            one.publisher.on_refresh = lambda: seen.append(current_caller())
            raw = await Raw.session_to(one.publisher)
            await raw.read(POINT)
            assert seen == [anonymous({UserRole.READ_ONLY})]
            for identity in (
                ua.UserNameIdentityToken(UserName="anna", Password=b"correct horse"),
                ua.X509IdentityToken(CertificateData=paper("client").der),
            ):
                other = await Raw.channel_to(one.publisher)
                await other.create_session()
                with pytest.raises(Fault, match="BadIdentityTokenRejected"):
                    await other.activate(identity)
            assert one.users.told[-1][0] == "LOGIN"

    asyncio.run(story())


@pytest.mark.parametrize(
    ("made", "code", "reason"),
    [
        ({"name": "stranger"}, "BadSecurityChecksFailed", "not trusted"),
        ({"name": "expired", "days": (-9, -1)}, "BadCertificateTimeInvalid", "expired"),
        ({"name": "early", "days": (1, 9)}, "BadCertificateTimeInvalid", "not valid yet"),
        ({"name": "no-signer", "usage": False}, "BadCertificateUseNotAllowed", "not for signing"),
    ],
)
def test_a_certificate_that_is_not_taken_opens_no_channel(made: Any, code: str, reason: str) -> None:
    """OPC-4, SEC-5: refused with its status, counted, told with the reason; only the stranger's is kept to look at."""

    async def story() -> None:
        is_stranger, shown = reason == "not trusted", paper(**made)
        cabinet = Cabinet(paper("client"), *([] if is_stranger else [shown]))
        async with guarded(cabinet) as one:
            assert await refused(await client_of(one, shown=shown, **ANNA)) == code
            assert any(reason in each for each in one.users.reasons("CERTIFICATE_REJECTED"))
            assert one.users.counts["CERTIFICATE_REJECTED", "refused"] >= 1
            if is_stranger:
                await until(lambda: bool(cabinet.rejected), what="the certificate is kept")
                assert cabinet.rejected[0][0] == shown.der
            else:
                assert cabinet.rejected == []
            async with await client_of(one, **ANNA):
                pass  # and a good client is not the worse for it

    asyncio.run(story())


def test_a_session_needs_the_channel_s_own_certificate() -> None:
    """OPC-4 (FACTS: a client that omits its certificate passes): omitted, another's, or another name: no session."""

    async def story() -> None:
        async with guarded() as one:
            for shown, uri, code in (
                (b"", "urn:calejo-test:client", "BadSecurityChecksFailed"),
                (paper("stranger").der, "urn:calejo-test:client", "BadSecurityChecksFailed"),
                (paper("client").der, "urn:somebody:else", "BadCertificateUriInvalid"),
            ):
                async with channel(await client_of(one, uri=uri)) as client:
                    params = ua.CreateSessionParameters()
                    params.ClientCertificate = ua.ByteString(shown)
                    params.ClientNonce = ua.ByteString(bytes(32))
                    params.ClientDescription.ApplicationUri = ua.String(uri)
                    with pytest.raises(ua.UaStatusCodeError) as error:
                        await client.uaclient.create_session(params)
                    assert ua.StatusCode(ua.UInt32(error.value.code)).name == code
            async with channel(await client_of(one)) as client:
                params = ua.CreateSessionParameters()
                params.ClientCertificate = ua.ByteString(paper("client").der)
                params.ClientDescription.ApplicationUri = ua.String("urn:calejo-test:client")
                params.ClientNonce = ua.ByteString(bytes(8))
                with pytest.raises(ua.uaerrors.BadNonceInvalid):
                    await client.uaclient.create_session(params)
            assert one.users.reasons("CERTIFICATE_REJECTED") == [
                "CreateSession: BadSecurityChecksFailed", "CreateSession: BadSecurityChecksFailed",
                "CreateSession: BadCertificateUriInvalid", "CreateSession: BadNonceInvalid",
            ]  # fmt: skip
            assert one.publisher.endpoint.told["certificate_rejected"] == 4

    asyncio.run(story())


@pytest.mark.parametrize(
    ("user", "password"),
    [("anna", "wrong"), ("nobody", "correct horse"), ("anna", ""), ("admin", "admin"), ("", "correct horse")],
)
def test_a_wrong_name_or_password_is_refused(user: str, password: str) -> None:
    """SEC-1, OPC-4 (FACTS: the default takes any password and makes `admin` an administrator)."""

    async def story() -> None:
        async with guarded() as one:
            client = await client_of(one, user=user or "x", password=password)
            assert await refused(client) in {"BadUserAccessDenied", "BadIdentityTokenInvalid"}
            assert one.users.counts["LOGIN", "refused"] == 1
            assert one.publisher.requests == []

    asyncio.run(story())


@pytest.mark.parametrize(
    "policy", [SecurityPolicyBasic256, SecurityPolicyAes128Sha256RsaOaep], ids=["Basic256", "Aes128"]
)
def test_a_weaker_policy_is_refused(policy: Any) -> None:
    """OPC-4: what is not offered opens no channel, although the library could (downgrade)."""

    async def story() -> None:
        async with guarded() as one:
            assert await refused(await client_of(one, policy=policy, **ANNA)) == "BadSecurityPolicyRejected"

    asyncio.run(story())


def test_weak_certificates_are_refused() -> None:
    """OPC-4: a key that the policies do not allow, although somebody pinned it."""

    async def story() -> None:
        weak = paper("weak", bits=1_024)
        async with guarded(Cabinet(paper("client"), weak)) as one:
            assert (
                await refused(await client_of(one, shown=weak, **ANNA)) == "BadCertificatePolicyCheckFailed"
            )

    asyncio.run(story())


def test_who_fails_three_times_loses_the_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    """SEC-1: one connection is not a place to try passwords."""

    async def story() -> None:
        monkeypatch.setattr(limits, "IDLE_CONNECTION_S", 1_000.0)  # not for that it would be cut
        async with guarded() as one, channel(await client_of(one)) as client:
            await client.create_session()
            for _ in range(limits.ACTIVATIONS_FAILED_MAX):
                with pytest.raises(ua.uaerrors.BadUserAccessDenied):
                    await client.activate_session(username="anna", password="no")
            await until(lambda: one.publisher.endpoint.clients == 0, what="the connection is cut")

    asyncio.run(story())


def test_who_signs_wrongly_three_times_loses_the_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    """OPC-4, SEC-1: a signature that is not its own is a failed activation like a wrong password."""

    async def story() -> None:
        monkeypatch.setattr(limits, "IDLE_CONNECTION_S", 1_000.0)  # not for that it would be cut
        async with guarded() as one, channel(await client_of(one)) as client:
            await client.create_session()
            send = client.uaclient.activate_session

            async def forged(params: ua.ActivateSessionParameters) -> Any:
                params.ClientSignature.Signature = ua.ByteString(bytes(256))
                return await send(params)

            client.uaclient.activate_session = forged  # type: ignore[assignment]
            for _ in range(limits.ACTIVATIONS_FAILED_MAX):
                with pytest.raises(ua.uaerrors.BadApplicationSignatureInvalid):
                    await client.activate_session(username="anna", password="correct horse")
            await until(lambda: one.publisher.endpoint.clients == 0, what="the connection is cut")
            assert one.publisher.endpoint.told["certificate_rejected"] == limits.ACTIVATIONS_FAILED_MAX

    asyncio.run(story())


def test_a_copied_activation_is_worth_nothing() -> None:
    """OPC-4: signature and password are tied to a nonce that counts once; the same bytes again are refused."""

    async def story() -> None:
        async with guarded() as one, channel(await client_of(one)) as client:
            await client.create_session()
            copied: list[ua.ActivateSessionParameters] = []
            send = client.uaclient.activate_session

            async def copy(params: ua.ActivateSessionParameters) -> Any:
                copied.append(params)
                return await send(params)

            client.uaclient.activate_session = copy  # type: ignore[assignment]
            await client.activate_session(username="anna", password="correct horse")
            with pytest.raises(ua.uaerrors.BadApplicationSignatureInvalid):
                await send(copied[0])
            told = one.users.reasons("CERTIFICATE_REJECTED")
            assert told == ["ActivateSession: BadApplicationSignatureInvalid"]
            # With a signature that is good, the password of before is not: its nonce is another one.
            token = copied[0].UserIdentityToken

            async def with_old_password(params: ua.ActivateSessionParameters) -> Any:
                params.UserIdentityToken = token
                return await send(params)

            client.uaclient.activate_session = with_old_password  # type: ignore[assignment]
            with pytest.raises(ua.uaerrors.BadIdentityTokenInvalid):
                await client.activate_session(username="anna", password="correct horse")

    asyncio.run(story())


def test_a_plaintext_or_weakly_sealed_password_is_refused() -> None:
    """OPC-4: a password counts only as the channel's own policy seals it, also where the channel encrypts."""

    async def story() -> None:
        async with guarded() as one, channel(await client_of(one)) as client:
            await client.create_session()
            send = client.uaclient.activate_session
            tokens = [
                ua.UserNameIdentityToken(UserName="anna", Password=b"correct horse"),
                ua.UserNameIdentityToken(
                    UserName="anna",
                    Password=bytes(256),
                    EncryptionAlgorithm="http://www.w3.org/2001/04/xmlenc#rsa-1_5",
                ),
            ]

            async def other_token(params: ua.ActivateSessionParameters) -> Any:
                params.UserIdentityToken = tokens.pop()
                return await send(params)

            client.uaclient.activate_session = other_token  # type: ignore[assignment]
            for _ in range(2):
                with pytest.raises(ua.uaerrors.BadIdentityTokenInvalid):
                    await client.activate_session(username="anna", password="correct horse")

    asyncio.run(story())


def test_a_session_is_not_taken_over_by_another_program_or_user() -> None:
    """OPC-4 (OPC 10000-4, 5.6.3): who knows its token and nonce has still to be its program and its user."""

    async def story() -> None:
        other = paper("other")
        async with (
            guarded(Cabinet(paper("client"), other)) as one,
            await client_of(one, **ANNA) as owner,
        ):
            for shown, user, password in (
                (other, "anna", "correct horse"),
                (paper("client"), "reader", "battery staple"),
            ):
                async with channel(await client_of(one, shown=shown)) as thief:
                    knows(thief, owner)
                    with pytest.raises(ua.uaerrors.BadSecurityChecksFailed):
                        await thief.activate_session(username=user, password=password)
            assert one.users.reasons("CLIENT_REFUSED") == [
                "ActivateSession: another program's session", "ActivateSession: another user's session"
            ]  # fmt: skip
            # The owner itself may come back on a new channel (a lost connection), and nobody else has it then.
            async with channel(await client_of(one)) as again:
                knows(again, owner)
                await again.activate_session(username="anna", password="correct horse")
                one.publisher.show({POINT: 1.0})
                assert await again.get_node(node_id(POINT)).read_value() == 1.0
                with pytest.raises(ua.uaerrors.BadSessionIdInvalid):
                    await owner.get_node(node_id(POINT)).read_value()

    asyncio.run(story())


def knows(thief: Client, owner: Client) -> None:
    """Let one client know everything of another's session."""
    token = owner.uaclient.protocol.authentication_token  # type: ignore[union-attr]
    thief.uaclient.protocol.authentication_token = token  # type: ignore[union-attr]
    thief._server_nonce, thief._policy_ids = owner._server_nonce, owner._policy_ids


def test_who_takes_over_a_session_hears_only_what_is_theirs() -> None:
    """SEC-2, OPC-4: another user on the same channel keeps the data items, and nothing that tells of alarms."""

    async def story() -> None:
        async with guarded() as one, await client_of(one, **ANNA) as client:
            subscription = await client.create_subscription(50, None)
            await subscription.subscribe_data_change(client.get_node(node_id(POINT)))
            await subscription.subscribe_events()
            sessions, number = one.publisher.endpoint._sessions, subscription.subscription_id
            assert sessions is not None
            assert number is not None
            items = sessions.bounded_subscriptions.items_of(number)
            assert (len(items.listeners), len(items._monitored_items)) == (1, 2)
            await client.activate_session(username="anna", password="correct horse")
            assert len(items.listeners) == 1
            await client.activate_session(username="plc", password="level sensor")
            assert (len(items.listeners), len(items._monitored_items)) == (0, 1)

    asyncio.run(story())


def test_a_disabled_user_and_a_distrusted_program_lose_their_sessions() -> None:
    """SEC-1, OPC-4: within a bound, by themselves; the others go on."""

    async def story() -> None:
        user, leaver = paper("user"), paper("other")
        keys = {user: UserCertificate(name="plc-7", role=UserRole.FIELD)}
        async with guarded(Cabinet(paper("client"), leaver, users=keys)) as one:
            stays = await client_of(one, **ANNA)
            disabled = await client_of(one, user="reader", password="battery staple")
            distrusted = await client_of(one, shown=leaver, **ANNA)
            certified = await client_of(one, user_paper=user)
            everybody = (stays, disabled, distrusted, certified)
            for each in everybody:
                await each.connect()
            sessions = one.publisher.endpoint._sessions
            assert sessions is not None
            assert len(sessions.sessions) == 4
            del one.users.passwords["reader"]
            one.cabinet.trusted.discard(leaver.der)
            one.cabinet.users.clear()
            bound_s = limits.STANDING_PERIOD_S + limits.PKI_PERIOD_S + 3.0
            await until(lambda: len(sessions.sessions) == 1, what="three are ended", deadline_s=bound_s)
            assert one.users.counts["SESSION_ENDED", "success"] == 3
            assert one.users.counts["TRUST_CHANGED", "success"] >= 1
            one.publisher.show({POINT: 2.0})
            assert await stays.get_node(node_id(POINT)).read_value() == 2.0
            for each in everybody:
                await each.disconnect()

    asyncio.run(story())


def test_while_the_users_are_away_sessions_go_on_and_new_ones_wait() -> None:
    """DAT-3, OPC-4: a dead database blinds no control room; a name that nobody can judge is refused as unavailable."""

    async def story() -> None:
        async with guarded() as one, await client_of(one, **ANNA) as client:
            one.users.away = True
            listener = one.publisher.endpoint._listener
            assert listener is not None
            await one.publisher.endpoint._upkeep.look_at_sessions(listener)
            one.publisher.show({POINT: 3.0})
            assert await client.get_node(node_id(POINT)).read_value() == 3.0
            assert await refused(await client_of(one, **ANNA)) == "BadResourceUnavailable"

    asyncio.run(story())


def test_a_new_certificate_is_for_new_clients_and_old_ones_go_on() -> None:
    """SEC-4: rotated while it serves: who is connected goes on, renewals included; the next see the new one."""

    async def story() -> None:
        async with guarded() as one:
            old = one.cabinet.shown
            async with await client_of(one, **ANNA) as client:
                one.cabinet.shown = server_paper("server-2")
                await one.publisher.endpoint._upkeep.look_at_certificates(one.cabinet)
                one.publisher.show({POINT: 4.0})
                await client.open_secure_channel(renew=True)
                assert await client.get_node(node_id(POINT)).read_value() == 4.0
                assert await refused(await client_of(one, server=old, **ANNA)) == "BadCertificateInvalid"
                async with await client_of(one, **ANNA) as next_one:
                    assert await next_one.get_node(node_id(POINT)).read_value() == 4.0
                # What does not fit changes nothing, and is told once.
                one.cabinet.problem = "the key is not the one to it"
                for _ in range(3):
                    await one.publisher.endpoint._upkeep.look_at_certificates(one.cabinet)
                assert one.users.counts["CERTIFICATE_REPLACED", "success"] == 1
                assert one.users.counts["CERTIFICATE_REPLACED", "refused"] == 1
                assert await client.get_node(node_id(POINT)).read_value() == 4.0

    asyncio.run(story())


def test_a_new_certificate_may_have_another_uri() -> None:
    """SEC-4, OPC-4: what the server calls itself is what its certificate says, in the endpoints and in its arrays."""

    async def story() -> None:
        async with guarded() as one:
            one.cabinet.shown = paper("server-3", uri="urn:plant-7:calejo")
            await one.publisher.endpoint._upkeep.look_at_certificates(one.cabinet)
            async with await client_of(one, **ANNA) as client:
                for number in (ua.ObjectIds.Server_NamespaceArray, ua.ObjectIds.Server_ServerArray):
                    names = await client.get_node(standard(number)).read_value()
                    assert names[1 if len(names) > 1 else 0] == "urn:plant-7:calejo"
                assert await client.get_namespace_index(OPCUA_NAMESPACE_URI) == OPCUA_NAMESPACE_INDEX
            raw = await Raw.channel_to(one.publisher)
            offered = (await raw.ask(ua.GetEndpointsRequest(), ua.GetEndpointsResponse)).Endpoints
            assert {each.Server.ApplicationUri for each in offered} == {"urn:plant-7:calejo"}

    asyncio.run(story())


def test_a_channel_ends_with_its_token_unless_it_is_renewed(monkeypatch: pytest.MonkeyPatch) -> None:
    """OPC-4: a token's time is its time; asyncua went on with it for ever."""

    async def story() -> None:
        monkeypatch.setattr(limits, "CHANNEL_LIFETIME_MS_MAX", 400)
        monkeypatch.setattr(limits, "CHANNEL_LIFETIME_MS_MIN", 100)
        async with guarded(rules=WITH_NONE) as one:
            raw = await Raw.session_to(one.publisher)
            assert await raw.read("/north/failsafe")
            sent = await raw.ended()
            assert b"not renewed" in sent or sent == b""
            assert one.publisher.endpoint.clients == 0

    asyncio.run(story())


def test_the_first_token_is_never_zero() -> None:
    """OPC-4: token 0 is asyncua's "no next one"; taken as a renewal it replaced keys before anything was proved."""

    async def story() -> None:
        async with guarded(rules=WITH_NONE) as one:
            raw = await Raw.session_to(one.publisher)
            raw._token_id = 0
            await raw.send_bytes(b"\x00")
            await raw.ended()
            assert any("BadSecureChannelTokenUnknown" in each for each in one.publisher.events("refused"))

    asyncio.run(story())


def test_a_flood_of_handshakes_is_limited_and_untrusted_ones_cost_no_private_key(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """OPC-5: beyond its part an address waits; what is not trusted is refused before anything is decrypted."""

    async def story() -> None:
        monkeypatch.setattr(limits, "HANDSHAKES_BURST", 3)
        monkeypatch.setattr(limits, "HANDSHAKES_PER_S", 0.001)
        async with guarded() as one:
            for _ in range(6):
                assert (
                    await refused(await client_of(one, shown=paper("stranger"))) == "BadSecurityChecksFailed"
                )
            for _ in range(3):
                async with channel(await client_of(one)):
                    pass
            assert await refused(await client_of(one)) == "BadTcpServerTooBusy"
            assert one.users.counts["RATE_LIMITED", "refused"] == 1

    asyncio.run(story())


def test_health_is_shown_as_service_level_and_server_state() -> None:
    """OPC-4: ServiceLevel and ServerStatus follow what the publisher says, also for who watches."""

    async def story() -> None:
        async with guarded() as one, await client_of(one, **ANNA) as client:
            level = client.get_node(standard(ua.ObjectIds.Server_ServiceLevel))
            state = client.get_node(standard(ua.ObjectIds.Server_ServerStatus_State))
            status = client.get_node(standard(ua.ObjectIds.Server_ServerStatus))
            assert (await level.read_value(), await state.read_value()) == (1, 6)  # CommunicationFault
            for told, shown in ((255, 0), (120, 0), (1, 6)):
                one.publisher.endpoint.show_health(told)
                async with asyncio.timeout(10):
                    while await level.read_value() != told or await state.read_value() != shown:
                        await asyncio.sleep(0.02)
                assert int((await status.read_value()).State) == shown

    asyncio.run(story())


def test_who_may_only_read_changes_nothing() -> None:
    """SEC-2: READ_ONLY writes feedback, a heartbeat and a stop: BadUserAccessDenied each, and nothing is different."""

    async def story() -> None:
        async with guarded() as one:
            one.publisher.show({POINT: 31.5, BEAT: 3, STOP: False})
            async with await client_of(one, user="reader", password="battery staple") as client:
                write = ua.WriteParameters()
                write.NodesToWrite = [
                    written(POINT, 12.5, ua.VariantType.Double),
                    written(BEAT, 7, ua.VariantType.UInt16),
                    written(STOP, True, ua.VariantType.Boolean),
                ]
                codes = [code.name for code in await client.uaclient.write(write)]
                assert codes == ["BadUserAccessDenied"] * 3
                for point, value in ((POINT, 31.5), (BEAT, 3), (STOP, False)):
                    assert await client.get_node(node_id(point)).read_value() == value

    asyncio.run(story())


def test_two_thousand_sessions_from_one_bad_client_are_one() -> None:
    """OPC-5 (FACTS: repeated CreateSession is memory growth): 2,000 asked for, one made, nobody else notices."""

    async def story() -> None:
        async with guarded(rules=WITH_NONE) as one:
            one.publisher.show({POINT: 1.0})
            sessions = one.publisher.endpoint._sessions
            assert sessions is not None
            async with await client_of(one, **ANNA) as good:
                bad = await Raw.channel_to(one.publisher)
                await bad.create_session()
                over = asyncio.Event()

                async def flood() -> int:
                    refusals = 0
                    for _ in range(2_000):
                        with pytest.raises(Fault, match="BadTooManySessions"):
                            await bad.create_session()
                        refusals += 1
                    over.set()
                    return refusals

                flooding = asyncio.create_task(flood())
                loop, took_s = asyncio.get_running_loop(), []
                while not over.is_set():
                    start_s = loop.time()
                    assert await good.get_node(node_id(POINT)).read_value() == 1.0
                    took_s.append(loop.time() - start_s)
                    await asyncio.sleep(0.01)
                assert await flooding == 2_000
                assert len(sessions.sessions) == 2
                p99_s = sorted(took_s)[int(len(took_s) * 0.99)]
                print(f"{len(took_s)} answers beside the flood, p99 {p99_s * 1_000:.0f} ms")
                # OPC-6's 100 ms, for each of the three that share this one loop: server, flood and good client.
                assert p99_s < 3 * 0.1
                assert one.publisher.endpoint.told["limited"] == 2_000
                assert one.users.counts["RATE_LIMITED", "refused"] == 2_000

    asyncio.run(story())


def test_a_flood_of_connections_pushes_out_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """OPC-5: when all places are taken by the unfinished, the address that has most of them loses one."""

    async def story() -> None:
        monkeypatch.setattr(limits, "CONNECTIONS_MAX", 6)
        async with guarded(rules=WITH_NONE) as one:
            listener = one.publisher.endpoint._listener
            assert listener is not None
            _, slow = await asyncio.open_connection(
                "127.0.0.1", one.publisher.port, local_addr=("127.0.0.2", 0)
            )
            await until(lambda: len(listener.connections) == 1, what="the slow one is there")
            for _ in range(20):
                await Raw.connect(one.publisher)
            await until(
                lambda: one.publisher.events("connected") == [""] * 21 and len(listener.connections) == 6,
                what="twenty more were let in",
            )
            assert [each.address for each in listener.connections].count("127.0.0.2") == 1
            slow.close()

    asyncio.run(story())


def test_a_session_made_without_security_stays_without() -> None:
    """OPC-4: its token, sent over a secure channel of a trusted program, is nobody's."""

    async def story() -> None:
        async with guarded(rules=WITH_NONE) as one:
            raw = await Raw.channel_to(one.publisher)
            await raw.create_session()
            nonce = (await raw.activate()).Parameters.ServerNonce
            async with await client_of(one, **ANNA) as known, channel(await client_of(one)) as thief:
                knows(thief, known)
                thief.uaclient.protocol.authentication_token = raw.token  # type: ignore[union-attr]
                thief._server_nonce = nonce
                with pytest.raises(ua.uaerrors.BadSecurityChecksFailed):
                    await thief.activate_session()
            assert await raw.read(POINT)

    asyncio.run(story())


def test_the_kit_s_client_shows_its_papers_where_they_are_asked_for(tmp_path: Path) -> None:
    """OPC-4: `calejo wire` reads a secured endpoint with its own certificate; without one it says why it cannot."""

    async def story() -> None:
        files = {"certificate": tmp_path / "wire.pem", "private_key": tmp_path / "wire-key.pem"}
        files["certificate"].write_bytes(paper("client").certificate.public_bytes(Encoding.PEM))
        files["private_key"].write_bytes(paper("client").key_pem)
        papers = Papers(uri=CLIENT_URI, **{name: str(path) for name, path in files.items()})
        users = {paper("client"): UserCertificate(name="calejo-wire", role=UserRole.READ_ONLY)}
        async with guarded(Cabinet(paper("client"), users=users)) as one:
            one.publisher.show({POINT: 31.5})
            wire = OpcUaWire(one.publisher.endpoint.bound, papers)
            await wire.open()
            (data,) = await wire.attributes([f"ns=2;s={POINT}"], ua.AttributeIds.Value)
            assert data.Value is not None
            assert data.Value.Value == 31.5
            assert ("LOGIN", "certificate:calejo-wire", "") in one.users.told
            await wire.close()
            with pytest.raises(DeviceError, match="no session"):
                await OpcUaWire(one.publisher.endpoint.bound).open()

    asyncio.run(story())
