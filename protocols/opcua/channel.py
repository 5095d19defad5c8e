"""The secure channel: who may open one, with what; and asyncua's bookkeeping of tokens and keys made strict (OPC-4)."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable
from typing import Any, Final

from asyncua import ua
from asyncua.common.connection import SecureConnection, TransportLimits
from asyncua.common.utils import Buffer, ServiceError
from asyncua.crypto.security_policies import SecurityPolicyNone
from asyncua.ua.ua_binary import struct_from_binary

from protocols.opcua import limits
from protocols.opcua.certificates import der_of, first_of
from protocols.opcua.policies import NONCE_BYTES

# Judges the certificate that opens a channel; raises ServiceError. Called before anything is decrypted.
Admit = Callable[[bytes], None]
_MS_PER_S: Final = 1_000.0


class Channel(SecureConnection):
    """Against the stock class: a token ends with its lifetime, the first is not 0, and old keys go at once.

    asyncua takes 0, its default for "no next token", as a renewal; it goes on with a token for ever; and it goes on
    accepting the keys from before a renewal (until their own end, or with Sign for ever).
    """

    def __init__(self, bounds: TransportLimits, admit: Admit) -> None:
        super().__init__(SecurityPolicyNone(), bounds)
        self._admit = admit
        self._ends_s = 0.0
        self._next_ends_s = 0.0

    @property
    def is_secure(self) -> bool:
        """Whether what comes is at least signed."""
        return bool(self.security_policy.Mode != ua.MessageSecurityMode.None_)

    def has_ended(self, now_s: float) -> bool:
        """Say whether its token's time is over: nobody renewed it."""
        return self._open and now_s > self._ends_s

    def check_open(self, header: Any, body: Buffer) -> None:
        """Judge an OpenSecureChannel by what is readable of it, before it costs a private key's work.

        Raises:
            ServiceError: another policy than offered, a certificate that is not taken, not for us, or too long.

        """
        if header.ChunkType != ua.ChunkType.Single:
            raise ServiceError(ua.StatusCodes.BadTcpMessageTypeInvalid)
        rest = body.copy(header.body_size)
        try:
            asked = struct_from_binary(ua.AsymmetricAlgorithmHeader, rest)
        except Exception as error:  # the decoder raises whatever the client's bytes make it
            raise ServiceError(ua.StatusCodes.BadDecodingError) from error
        offered = [each for each in self._policies if each.matches(asked.SecurityPolicyURI)]
        if not offered:
            raise ServiceError(ua.StatusCodes.BadSecurityPolicyRejected)
        shown = asked.SenderCertificate or b""
        if self._open:
            policy = self.security_policy
            if asked.SecurityPolicyURI != policy.URI or header.ChannelId != self.security_token.ChannelId:
                raise ServiceError(ua.StatusCodes.BadSecurityChecksFailed)
            own = policy.host_certificate
            if self.is_secure and first_of(shown) != policy.peer_certificate:
                raise ServiceError(ua.StatusCodes.BadSecurityChecksFailed)
        else:
            own = b"" if offered[0].certificate is None else der_of(offered[0].certificate)
        if asked.SecurityPolicyURI == SecurityPolicyNone.URI:
            return
        if len(rest) > limits.OPEN_BYTES_MAX:
            raise ServiceError(ua.StatusCodes.BadTcpMessageTooLarge)
        self._admit(shown)
        # SHA-1 names our certificate here, it protects nothing (OPC 10000-6, 6.7.2.3).
        if asked.ReceiverCertificateThumbPrint != hashlib.sha1(own or b"").digest():  # noqa: S324
            raise ServiceError(ua.StatusCodes.BadCertificateInvalid)

    def check_request(self, asked: ua.OpenSecureChannelParameters) -> None:
        """Judge what was asked for inside.

        Raises:
            ServiceError: a mode that is not offered, a nonce of the wrong length, or the one from before.

        """
        uri = self.security_policy.URI
        if self._open and asked.SecurityMode != self.security_policy.Mode:
            raise ServiceError(ua.StatusCodes.BadSecurityModeRejected)
        if not any(each.matches(uri, asked.SecurityMode) for each in self._policies):
            raise ServiceError(ua.StatusCodes.BadSecurityModeRejected)
        if uri == SecurityPolicyNone.URI:
            return
        nonce = asked.ClientNonce or b""
        if len(nonce) != NONCE_BYTES or nonce == self.remote_nonce:
            raise ServiceError(ua.StatusCodes.BadNonceInvalid)

    def open(self, params: Any, server: Any) -> ua.OpenSecureChannelResult:
        """Open or renew; a token's time begins now."""
        first = not self._open
        result: ua.OpenSecureChannelResult = super().open(params, server)
        # OPC 10000-4, 5.5.2.1: a quarter of its time longer, for what is under way.
        ends_s = asyncio.get_running_loop().time() + params.RequestedLifetime / _MS_PER_S * 1.25
        if first:
            self._ends_s = ends_s
        self._next_ends_s = ends_s
        return result

    def revolve_tokens(self) -> None:
        """Go over to the keys of the renewal; those from before are forgotten."""
        super().revolve_tokens()
        self._ends_s = self._next_ends_s
        keys: Any = self.security_policy.symmetric_cryptography
        keys.Prev_Verifier = keys.Prev_Decryptor = None

    def _check_sym_header(self, security_hdr: Any) -> None:
        if self._open:
            no_token = security_hdr.TokenId == 0
            if no_token or (security_hdr.TokenId == self.security_token.TokenId and self._is_over()):
                raise ServiceError(ua.StatusCodes.BadSecureChannelTokenUnknown)
        super()._check_sym_header(security_hdr)

    def _is_over(self) -> bool:
        return self.has_ended(asyncio.get_running_loop().time())
