"""One connection's secure channel and session: decodes requests, has them answered, sends the answers."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from asyncua import ua
from asyncua.common.utils import Buffer, ServiceError
from asyncua.server.uaprocessor import PublishRequestData, UaProcessor
from asyncua.ua.ua_binary import nodeid_from_binary, struct_from_binary, struct_to_binary

from protocols.opcua import limits
from protocols.opcua.admission import check_client, is_signed
from protocols.opcua.channel import Channel
from protocols.opcua.decoding import tcp_message
from protocols.opcua.identity import answering
from protocols.opcua.ids import status
from protocols.opcua.refusals import CLIENT_REFUSED, KnownRefusal

if TYPE_CHECKING:
    from asyncua.common.connection import TransportLimits

    from protocols.opcua.session import Session, Sessions

# A fault of our own, with the peer whose request met it.
Fault = Callable[[Exception, str], None]


@dataclass(frozen=True)
class Request:
    """A decoded request with what its answer needs."""

    params: Any
    header: ua.RequestHeader
    sequence: Any


@dataclass(frozen=True)
class Service:
    """How a service is decoded, whether it needs an activated session, and who answers it."""

    decode: type | None
    needs_session: bool
    # None: answered later (Publish).
    answer: Callable[[Processor, Request], Awaitable[Any | None]]
    # May be asked by a stranger without any security: what there is, and how to get in.
    is_discovery: bool = False
    name: str = ""
    # Whose refused operations are told here; those of the others have somebody else who does.
    tells_items: bool = False


class Processor(UaProcessor):
    """One connection's secure channel and services.

    Takes the place of asyncua's dispatch: only services of the table, on a policy that is offered, with the
    session's own token; decoding apart from doing, so that a client's garbage and our bugs are told apart.
    """

    iserver: Sessions
    session: Session | None

    def __init__(
        self,
        server: Sessions,
        transport: asyncio.Transport,
        bounds: TransportLimits,
        *,
        policies: list[Any],
        services: Mapping[int, Service],
        fault: Fault,
    ) -> None:
        super().__init__(server, transport, bounds)
        name = transport.get_extra_info("peername")
        self.peer: Final = f"{name[0]}:{name[1]}" if name else "unknown"
        self._connection: Channel = Channel(
            self._limits, lambda chain: server.admission.admit(chain, self.peer)
        )
        self._connection.set_policy_factories(policies)
        self._services: Final = services
        self._failed_activations = 0
        self._fault = fault
        self._finished = False
        self._response_bytes_max = limits.RESPONSE_BYTES_MAX

    # --- Transport and channel --------------------------------------------------------------------------------

    async def process(self, header: Any, body: Buffer) -> bool:
        """Answer one chunk; False: the connection is to be closed.

        Raises:
            Exception: whatever asyncua makes of bytes that are no proper chunk; the connection ends with it.

        """
        if header.MessageType == ua.MessageType.SecureOpen:
            self._connection.check_open(header, body)
        try:
            message = self._connection.receive_from_header_and_body(header, body)
        except (ServiceError, ua.uaerrors.UaStatusCodeError):
            raise
        except Exception as error:
            if not self._connection.is_secure:
                raise
            # Not decrypted, not signed, or out of its order: who sent it has not the keys, and learns no more.
            raise ServiceError(ua.StatusCodes.BadSecurityChecksFailed) from error
        if isinstance(message, ua.Hello):
            self._greet(message)
        elif isinstance(message, ua.Message):
            if header.MessageType == ua.MessageType.SecureOpen:
                self._open_channel(message)
            elif header.MessageType == ua.MessageType.SecureClose:
                self._connection.close()
                return False
            else:
                await self.process_message(message.SequenceHeader(), message.body())
        return not self._finished

    def _greet(self, hello: ua.Hello) -> None:
        if min(hello.ReceiveBufferSize, hello.SendBufferSize) < limits.CHUNK_BYTES_MIN:
            raise ServiceError(ua.StatusCodes.BadTcpNotEnoughResources)  # chunks of a few bytes: a million
        if hello.MaxMessageSize:
            self._response_bytes_max = min(self._response_bytes_max, hello.MaxMessageSize)
        acknowledge = self._limits.create_acknowledge_and_set_limits(hello)
        # asyncua also takes over the client's own limits for answers as limits of its requests.
        self._limits.max_message_size = acknowledge.MaxMessageSize = ua.UInt32(limits.REQUEST_BYTES_MAX)
        self._limits.max_chunk_count = acknowledge.MaxChunkCount = ua.UInt32(limits.REQUEST_CHUNKS_MAX)
        self._transport.write(tcp_message(ua.MessageType.Acknowledge, acknowledge))

    def _open_channel(self, message: ua.Message) -> None:
        request = struct_from_binary(ua.OpenSecureChannelRequest, message.body())
        asked = request.Parameters
        self._connection.check_request(asked)
        if not self._connection.is_open():
            header = message.SecurityHeader()
            self._connection.select_policy(
                header.SecurityPolicyURI, header.SenderCertificate, asked.SecurityMode
            )
        elif asked.RequestType != ua.SecurityTokenRequestType.Renew:
            raise ServiceError(ua.StatusCodes.BadSecureChannelIdInvalid)
        if not self._policy_offered():
            raise ServiceError(ua.StatusCodes.BadSecurityPolicyRejected)
        asked.RequestedLifetime = ua.UInt32(
            min(max(asked.RequestedLifetime, limits.CHANNEL_LIFETIME_MS_MIN), limits.CHANNEL_LIFETIME_MS_MAX)
        )
        response = ua.OpenSecureChannelResponse()
        response.Parameters = self._connection.open(asked, self.iserver)
        self._send(request.RequestHeader, message.SequenceHeader(), response, ua.MessageType.SecureOpen)

    def _policy_offered(self) -> bool:
        policy = self._connection.security_policy
        return any(offered.matches(policy.URI, policy.Mode) for offered in self._connection._policies)

    def _may_serve(self, service: Service) -> bool:
        """A channel without security is for finding out what there is, unless the settings allow more."""
        allowed = self.iserver.admission.rules.allow_none
        return self._policy_offered() and (self._connection.is_secure or service.is_discovery or allowed)

    # --- Services ---------------------------------------------------------------------------------------------

    async def process_message(self, seqhdr: Any, body: Buffer) -> bool:
        """Answer one request with its response or a service fault."""
        type_id = nodeid_from_binary(body)
        header = struct_from_binary(ua.RequestHeader, body)
        service = None
        if type_id.NamespaceIndex == 0 and isinstance(type_id.Identifier, int):
            service = self._services.get(type_id.Identifier)
        asked = "a service that is not offered" if service is None else service.name
        try:
            response = await self._answer(service, header, seqhdr, body)
            if response is not None:
                self._send(header, seqhdr, response)
        except (ServiceError, ua.uaerrors.UaStatusCodeError) as refusal:
            refusals = self.iserver.admission.refusals
            refusals.fault(refusal, actor=self._actor, peer=self.peer, asked=asked)
            self.refuse(header, seqhdr, refusal.code)
        except Exception as error:  # noqa: BLE001 - one client's request; the fault goes to the loop's handler
            self._fault(error, self.peer)
            self.refuse(header, seqhdr, ua.StatusCodes.BadInternalError)
        return True

    @property
    def _actor(self) -> str:
        session = self.session
        return session.caller.name if session is not None and session.caller is not None else ""

    async def _answer(
        self, service: Service | None, header: ua.RequestHeader, seqhdr: Any, body: Buffer
    ) -> Any:
        if service is None:
            raise ServiceError(ua.StatusCodes.BadServiceUnsupported)
        if not self._connection.is_open() or not self._may_serve(service):
            raise ServiceError(ua.StatusCodes.BadSecurityPolicyRejected)
        if service.needs_session:
            self.current_session(header).touch()
        try:
            params = None if service.decode is None else struct_from_binary(service.decode, body)
        except Exception as error:  # the decoder raises whatever the client's bytes make it
            raise ServiceError(ua.StatusCodes.BadDecodingError) from error
        session = self.session
        with answering(session.caller if session is not None and self.active else None):
            response = await service.answer(self, Request(params, header, seqhdr))
        if service.tells_items and response is not None:
            results = response.Parameters.Results if hasattr(response, "Parameters") else response.Results
            codes = [each.StatusCode for each in results]
            refusals = self.iserver.admission.refusals
            refusals.items(codes, actor=self._actor, peer=self.peer, asked=service.name)
        return response

    def current_session(self, header: ua.RequestHeader) -> Session:
        """Return the activated session that this connection carries, if the request names it.

        Raises:
            ServiceError: there is none, it is not activated, the token is not its own, or it has moved on.

        """
        session = self.session
        if session is None or session.channel is not self or header.AuthenticationToken != session.auth_token:
            raise ServiceError(ua.StatusCodes.BadSessionIdInvalid)
        if session.state.name == "Closed":
            raise ServiceError(ua.StatusCodes.BadSessionClosed)
        if not session.is_activated():
            raise ServiceError(ua.StatusCodes.BadSessionNotActivated)
        return session

    def has_ended(self, now_s: float) -> bool:
        """Say whether the channel's time is over: its client has not renewed it."""
        return self._connection.has_ended(now_s)

    @property
    def active(self) -> bool:
        """Whether the connection carries an activated session."""
        session = self.session
        return session is not None and session.channel is self and session.is_activated()

    # --- Answers ----------------------------------------------------------------------------------------------

    def refuse(self, header: ua.RequestHeader, sequence: Any, code: int) -> None:
        """Send a service fault."""
        fault = ua.ServiceFault()
        fault.ResponseHeader.ServiceResult = status(code)
        self._send(header, sequence, fault)

    def send_response(
        self, requesthandle: Any, seqhdr: Any, response: Any, msgtype: Any = ua.MessageType.SecureMessage
    ) -> None:
        """Send what asyncua's own code answers (publish responses, time-outs)."""
        try:
            self._write(requesthandle, seqhdr, response, self._bounded, msgtype)
        except ServiceError as refusal:
            # More than this client takes: it may ask for less in one message.
            refusals = self.iserver.admission.refusals
            refusals.fault(refusal, actor=self._actor, peer=self.peer, asked="Publish")
            fault = ua.ServiceFault()
            fault.ResponseHeader.ServiceResult = status(refusal.code)
            self._write(requesthandle, seqhdr, fault, struct_to_binary, msgtype)

    def get_publish_request(self, subscription_id: ua.IntegerId) -> PublishRequestData | None:
        """Return a publish request that waits; none for a client that does not read what it was sent."""
        if self._transport.get_write_buffer_size() < limits.WRITE_BUFFER_BYTES:
            found: PublishRequestData | None = super().get_publish_request(subscription_id)
            return found
        self._publish_results_subs[subscription_id] = True
        return None

    def _send(
        self,
        header: ua.RequestHeader,
        sequence: Any,
        response: Any,
        kind: Any = ua.MessageType.SecureMessage,
    ) -> None:
        self._write(header.RequestHandle, sequence, response, self._bounded, kind)

    def _bounded(self, response: Any) -> bytes:
        data: bytes = struct_to_binary(response)
        if len(data) > self._response_bytes_max:
            raise ServiceError(ua.StatusCodes.BadResponseTooLarge)
        return data

    def _write(
        self, handle: Any, sequence: Any, response: Any, pack: Callable[[Any], bytes], kind: Any
    ) -> None:
        if self._transport.is_closing():
            return
        response.ResponseHeader.RequestHandle = handle
        data = self._connection.message_to_binary(
            pack(response), message_type=kind, request_id=sequence.RequestId
        )
        self._transport.write(data)

    async def close(self) -> None:
        """Let go of the session when the connection is lost.

        One with subscriptions waits for its client to come back (OPC 10000-4, 6.7) until its time-out.
        """
        self._finished = True
        self._publish_requests.clear()
        session = self.session
        if session is None or session.channel is not self:
            return
        session.channel = None
        if not session.is_activated() or not session.subscriptions.owned_by(session.session_id):
            await session.close_session()

    # --- One method per service with more to say than "ask the session" ----------------------------------------

    async def create_session(self, request: Request) -> Any:
        """Make this connection's one session, for the program whose certificate opened the channel."""
        if self.session is not None:
            raise ServiceError(ua.StatusCodes.BadTooManySessions)
        policy = self._connection.security_policy
        params: ua.CreateSessionParameters = request.params
        if self._connection.is_secure:
            check_client(params, policy)
            self.iserver.admission.spend(self.peer)
        session = await self.iserver.admit(self.peer)
        self.session, session.channel = session, self
        session.bind(policy)
        response = ua.CreateSessionResponse()
        response.Parameters = await session.create_session(params, sockname=self.sockname)
        response.Parameters.ServerCertificate = policy.host_certificate
        signed = (policy.peer_certificate or b"") + (params.ClientNonce or b"")
        signature = response.Parameters.ServerSignature
        signature.Signature = policy.asymmetric_cryptography.signature(signed)
        signature.Algorithm = policy.AsymmetricSignatureURI
        return response

    async def activate_session(self, request: Request) -> Any:
        """Activate this connection's session, or take over one that this client lost its connection to."""
        session = self._session_to_activate(request.header)
        policy = self._connection.security_policy
        nonce = session.nonce or b""
        try:
            if self._connection.is_secure:
                keys: Any = policy.asymmetric_cryptography
                signed = (policy.host_certificate or b"") + nonce
                if not is_signed(keys.Verifier, signed, request.params.ClientSignature):
                    raise ServiceError(ua.StatusCodes.BadApplicationSignatureInvalid)
            caller = await self.iserver.admission.identify(request.params, policy, nonce, self.peer)
            # While the password was compared the session may have ended, or its client come by another way.
            if self._session_to_activate(request.header) is not session or session.nonce != nonce:
                raise ServiceError(ua.StatusCodes.BadSessionIdInvalid)
            if self.session is None and session.caller is not None and session.caller.name != caller.name:
                # OPC 10000-4, 5.6.3: on another channel it stays the same user's.
                raise self._takeover(caller.name, "another user's session")
        except ServiceError:
            self._failed_activations += 1
            self._finished = self._failed_activations >= limits.ACTIVATIONS_FAILED_MAX
            raise
        response = ua.ActivateSessionResponse()
        response.Parameters = session.activate_as(caller, request.params)
        if self.session is None:
            self.session, session.channel, session.name = session, self, self.peer
            for number in session.subscriptions.owned_by(session.session_id):
                subscription = session.subscriptions.subscriptions[number]
                subscription.pub_result_callback = self.forward_publish_response
                ask: Any = self.get_publish_request
                subscription.pub_request_callback = ask
        return response

    def _session_to_activate(self, header: ua.RequestHeader) -> Session:
        """Return the session that a request to activate names.

        Raises:
            ServiceError: it is not this connection's, and none that this client may take over.

        """
        session = self.session
        if session is not None:
            if session.auth_token != header.AuthenticationToken or session.channel is not self:
                raise ServiceError(ua.StatusCodes.BadSessionIdInvalid)
            return session
        found = self.iserver.lookup_external_session(header.AuthenticationToken)
        taken = None if found is None else next(each for each in self.iserver.sessions if each is found)
        if taken is None or not taken.is_activated():
            raise ServiceError(ua.StatusCodes.BadSessionIdInvalid)
        if not taken.is_bound_to(self._connection.security_policy):
            raise self._takeover("", "another program's session")
        return taken

    def _takeover(self, actor: str, whose: str) -> KnownRefusal:
        """Tell of somebody who came for a session that is not theirs; return the refusal."""
        refusals = self.iserver.admission.refusals
        refusals.event(CLIENT_REFUSED, actor=actor, peer=self.peer, refused=f"ActivateSession: {whose}")
        return KnownRefusal(ua.StatusCodes.BadSecurityChecksFailed)

    async def close_session(self, request: Request) -> Any:
        """End the session and its subscriptions."""
        session = self.session
        token = request.header.AuthenticationToken
        if session is None or session.channel is not self or session.auth_token != token:
            raise ServiceError(ua.StatusCodes.BadSessionIdInvalid)
        await session.close_session()
        session.channel = self.session = None
        self._publish_requests.clear()
        self._publish_results_subs.clear()
        return ua.CloseSessionResponse()

    async def close_channel(self, request: Request) -> Any:
        """End the connection."""
        self._finished = True
        return None

    async def publish(self, request: Request) -> None:
        """Keep the request until one of the session's subscriptions has something to say."""
        session = self.current_session(request.header)
        count, results = session.publish(request.params.SubscriptionAcknowledgements)
        waiting = PublishRequestData(requesthdr=request.header, seqhdr=request.sequence, results=results)
        while self._publish_results_subs:
            number = next(iter(self._publish_results_subs))
            del self._publish_results_subs[number]
            subscription = session.subscriptions.subscriptions.get(number)
            if subscription is not None and await subscription.publish_results(waiting):
                return
        if len(self._publish_requests) >= self.publish_request_limit(count):
            self._evict_publish_request()
        self._publish_requests.append(waiting)
