"""What security the endpoint offers: policies, modes, kinds of identity; `None` for discovery (OPC-4)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from asyncua import ua
from asyncua.crypto.security_policies import (
    SecurityPolicyAes256Sha256RsaPss,
    SecurityPolicyBasic256Sha256,
    SecurityPolicyFactory,
    SecurityPolicyNone,
    VerifierPssSha256,
    VerifierSha256,
)
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from actors.vocabulary.pki import OwnCertificate

SECURE: Final = (SecurityPolicyAes256Sha256RsaPss, SecurityPolicyBasic256Sha256)
MODES: Final = (ua.MessageSecurityMode.SignAndEncrypt, ua.MessageSecurityMode.Sign)
NONE_URI: Final = SecurityPolicyNone.URI
NONCE_BYTES: Final = 32
# OPC 10000-4, 7.14: the higher the better; 0 is for None.
_LEVELS: Final = {
    (SecurityPolicyAes256Sha256RsaPss.URI, ua.MessageSecurityMode.SignAndEncrypt): 120,
    (SecurityPolicyBasic256Sha256.URI, ua.MessageSecurityMode.SignAndEncrypt): 110,
    (SecurityPolicyAes256Sha256RsaPss.URI, ua.MessageSecurityMode.Sign): 60,
    (SecurityPolicyBasic256Sha256.URI, ua.MessageSecurityMode.Sign): 50,
}
VERIFIERS: Final[dict[str, Any]] = {
    SecurityPolicyBasic256Sha256.AsymmetricSignatureURI: VerifierSha256,
    SecurityPolicyAes256Sha256RsaPss.AsymmetricSignatureURI: VerifierPssSha256,
}
"""Who checks a user certificate's signature, by the name of the algorithm: SHA-1 is not among them."""
TRANSPORT: Final = "http://opcfoundation.org/UA-Profile/Transport/uatcp-uasc-uabinary"


def factories(own: OwnCertificate | None) -> list[SecurityPolicyFactory]:
    """Return what channels can be made of, `None` at the end: discovery needs it, whatever else is allowed on it.

    Without a certificate there is nothing but that.
    """
    made = []
    if own is not None:
        certificate = x509.load_der_x509_certificate(own.certificate)
        # Whoever read it has tried it; the library's own check takes 0.3 s, too long for the loop.
        key = serialization.load_pem_private_key(
            own.private_key, password=None, unsafe_skip_rsa_key_validation=True
        )
        made = [SecurityPolicyFactory(policy, mode, certificate, key) for policy in SECURE for mode in MODES]
    return [*made, SecurityPolicyFactory(SecurityPolicyNone, ua.MessageSecurityMode.None_)]


def descriptions(
    url: str,
    server: ua.ApplicationDescription,
    own: OwnCertificate | None,
    *,
    allow_none: bool,
    tokens: Sequence[ua.UserTokenType],
) -> list[ua.EndpointDescription]:
    """Return the endpoints that clients may choose from, the best first."""
    made = []
    if own is not None:
        made = [
            _description(url, server, policy.URI, mode, own, tokens) for policy in SECURE for mode in MODES
        ]
        made.sort(key=lambda each: -each.SecurityLevel)
    if allow_none:
        # A name and a password without encryption would be everybody's, and a certificate proves nothing there.
        plain = [each for each in tokens if each is ua.UserTokenType.Anonymous]
        made.append(_description(url, server, NONE_URI, ua.MessageSecurityMode.None_, own, plain))
    return made


def _description(
    url: str,
    server: ua.ApplicationDescription,
    policy: str,
    mode: ua.MessageSecurityMode,
    own: OwnCertificate | None,
    tokens: Sequence[ua.UserTokenType],
) -> ua.EndpointDescription:
    made = ua.EndpointDescription()
    made.EndpointUrl, made.Server = url, server
    made.ServerCertificate = None if own is None else own.certificate  # null without one
    made.SecurityMode, made.SecurityPolicyUri = mode, policy
    made.TransportProfileUri = TRANSPORT
    made.SecurityLevel = ua.Byte(_LEVELS.get((policy, mode), 0))
    made.UserIdentityTokens = [_token(kind, policy) for kind in tokens]
    return made


def _token(kind: ua.UserTokenType, policy: str) -> ua.UserTokenPolicy:
    made = ua.UserTokenPolicy()
    made.PolicyId, made.TokenType = policy_id(kind), kind
    # A password is encrypted and a certificate's signature made by the channel's own policy, also where it only signs.
    made.SecurityPolicyUri = NONE_URI if kind is ua.UserTokenType.Anonymous else policy
    return made


def policy_id(kind: ua.UserTokenType) -> str:
    """Return how a kind of identity is named in the endpoints."""
    return kind.name.lower()
