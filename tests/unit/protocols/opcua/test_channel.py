"""The secure channel's own rules: what may open and renew it, and which keys and tokens count afterwards."""

from __future__ import annotations

import asyncio
import hashlib
import os
import struct
from typing import Any

import pytest
from asyncua import ua
from asyncua.common.connection import TransportLimits
from asyncua.common.utils import Buffer, ServiceError
from asyncua.crypto.security_policies import SecurityPolicyBasic256Sha256, SecurityPolicyNone

from protocols.opcua import limits
from protocols.opcua.channel import Channel
from protocols.opcua.policies import factories
from tests.wire.opcua.papers import paper, server_paper


class Server:
    """Counts channels, as asyncua's inner server does."""

    def get_new_channel_id(self) -> int:
        return 7


def made(admitted: list[bytes] | None = None) -> Channel:
    """Return a channel that knows its client, not open yet."""
    one = Channel(TransportLimits(), (lambda _: None) if admitted is None else admitted.append)
    offered = factories(server_paper().own)
    one.set_policy_factories(offered)
    policy: Any = next(each for each in offered if each.cls is SecurityPolicyBasic256Sha256)
    one.security_policy = policy.create(paper("client").der)
    return one


def asked(
    nonce: bytes,
    *,
    mode: Any = ua.MessageSecurityMode.SignAndEncrypt,
    kind: Any = ua.SecurityTokenRequestType.Issue,
) -> ua.OpenSecureChannelParameters:
    params = ua.OpenSecureChannelParameters()
    params.ClientNonce, params.SecurityMode, params.RequestType = ua.ByteString(nonce), mode, kind
    params.RequestedLifetime = ua.UInt32(60_000)
    return params


def code_of(error: pytest.ExceptionInfo[ServiceError]) -> str:
    return ua.StatusCode(ua.UInt32(error.value.code)).name


def opening(
    uri: str = SecurityPolicyBasic256Sha256.URI,
    *,
    shown: bytes = paper("client").der,
    thumb: bytes | None = None,
    sealed: int = 512,
    chunk: Any = ua.ChunkType.Single,
    channel: int = 0,
) -> tuple[ua.Header, Buffer]:
    """What is readable of an OpenSecureChannel."""
    body = b""
    own = hashlib.sha1(server_paper().der).digest()
    for part in (uri.encode(), shown, own if thumb is None else thumb):
        body += struct.pack("<i", len(part)) + part
    body += bytes(sealed)
    kind: Any = ua.MessageType.SecureOpen  # asyncua types it as the bytes that it stands for
    header = ua.Header(kind, chunk, channel)
    header.body_size = len(body)
    return header, Buffer(body)


def test_a_nonce_is_long_enough_and_new() -> None:
    """OPC-4: 32 bytes, and not those of the last time: keys are made of it."""

    async def story() -> None:
        one, first = made(), os.urandom(32)
        for short in (b"", bytes(16), bytes(33)):
            with pytest.raises(ServiceError) as error:
                one.check_request(asked(short))
            assert code_of(error) == "BadNonceInvalid"
        one.check_request(asked(first))
        one.open(asked(first), Server())
        with pytest.raises(ServiceError) as error:
            one.check_request(asked(first))
        assert code_of(error) == "BadNonceInvalid"
        one.check_request(asked(os.urandom(32)))

    asyncio.run(story())


def test_a_renewal_changes_neither_mode_nor_policy_nor_program() -> None:
    """OPC-4: what was agreed stays (downgrade); another's channel is not renewed."""

    async def story() -> None:
        admitted: list[bytes] = []
        one, nonce = made(admitted), os.urandom(32)
        one.open(asked(nonce), Server())
        with pytest.raises(ServiceError) as error:
            one.check_request(asked(os.urandom(32), mode=ua.MessageSecurityMode.Sign))
        assert code_of(error) == "BadSecurityModeRejected"
        for header, body in (
            opening(SecurityPolicyNone.URI, channel=7),
            opening("http://opcfoundation.org/UA/SecurityPolicy#Aes256_Sha256_RsaPss", channel=7),
            opening(shown=paper("other").der, channel=7),
            opening(channel=8),
        ):
            with pytest.raises(ServiceError) as error:
                one.check_open(header, body)
            assert code_of(error) == "BadSecurityChecksFailed"
        assert admitted == []
        one.check_open(*opening(channel=7))
        assert admitted == [paper("client").der]  # judged anew: trust may have ended meanwhile

    asyncio.run(story())


def test_what_cannot_be_right_is_refused_before_it_costs_a_private_key() -> None:
    """OPC-5: policy, chunk, length and thumbprint are judged by what is readable, nothing is decrypted."""
    for (header, body), code in (
        (opening("http://opcfoundation.org/UA/SecurityPolicy#Basic128Rsa15"), "BadSecurityPolicyRejected"),
        (opening(""), "BadSecurityPolicyRejected"),
        (opening(chunk=ua.ChunkType.Intermediate), "BadTcpMessageTypeInvalid"),
        (opening(sealed=limits.OPEN_BYTES_MAX + 1), "BadTcpMessageTooLarge"),
        (opening(thumb=bytes(20)), "BadCertificateInvalid"),
    ):
        with pytest.raises(ServiceError) as error:
            made().check_open(header, body)
        assert code_of(error) == code
    made().check_open(*opening())


def test_keys_from_before_a_renewal_are_forgotten() -> None:
    """OPC-4: asyncua kept them, with Sign for ever; what a stolen old key signs counts no longer."""

    async def story() -> None:
        one = made()
        one.open(asked(os.urandom(32)), Server())
        keys: Any = one.security_policy.symmetric_cryptography
        before = keys.Verifier
        one.open(asked(os.urandom(32), kind=ua.SecurityTokenRequestType.Renew), Server())
        header = ua.SymmetricAlgorithmHeader()
        header.TokenId = one.next_security_token.TokenId
        one._check_sym_header(header)
        assert keys.Verifier is not before
        assert (keys.Prev_Verifier, keys.Prev_Decryptor) == (None, None)

    asyncio.run(story())
