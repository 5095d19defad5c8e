"""Who may open a channel, who gets a session and as whom: rules, trust and users brought together (OPC-4, SEC-2)."""

from __future__ import annotations

import asyncio
import hmac
import ipaddress
from collections import deque
from typing import Any, Final

import msgspec
from asyncua import ua
from asyncua.common.utils import ServiceError
from cryptography import x509
from cryptography.exceptions import InvalidSignature

from actors.vocabulary import CallerError, DeviceError
from actors.vocabulary.access import UserRole
from actors.vocabulary.callers import Caller, Shown
from actors.vocabulary.pki import OwnCertificate, Trust
from actors.vocabulary.texts import is_storable
from protocols.opcua import limits
from protocols.opcua.certificates import (
    Rejected,
    first_of,
    in_its_time,
    judge_application,
    judge_uri,
    judge_user,
)
from protocols.opcua.doorkeeper import Doorkeeper, Standing
from protocols.opcua.identity import anonymous
from protocols.opcua.policies import NONCE_BYTES, VERIFIERS
from protocols.opcua.quota import Quota
from protocols.opcua.refusals import CERTIFICATE_REJECTED, RATE_LIMITED, KnownRefusal, Refusals
from protocols.opcua.values import wire_time

_LENGTH_BYTES: Final = 4
_NAME_MAX: Final = 200
_PASSWORD_BYTES_MAX: Final = 1_024
_SECRET_BYTES_MAX: Final = 2_048
_REJECTED_WAITING_MAX: Final = 16


class Rules(msgspec.Struct, frozen=True, kw_only=True):
    """What the settings say: whether `None` serves more than discovery, and what whoever shows nothing may do."""

    allow_none: bool = False
    anonymous_roles: frozenset[UserRole] = frozenset()
    has_users: bool = False
    sessions_max: int = limits.SESSIONS_MAX
    sessions_per_address_max: int = limits.SESSIONS_MAX


class Admission:
    """Judges; what it knows of certificates is replaced from time to time by whoever reads the disk."""

    def __init__(self, rules: Rules, doorkeeper: Doorkeeper) -> None:
        self.rules: Final = rules
        self.doorkeeper: Final = doorkeeper
        self.refusals: Final = Refusals(doorkeeper)
        self.own: OwnCertificate | None = None
        self.trust = Trust()
        # Certificates to be kept for somebody to look at; a flood of them is not worth a disk.
        self.rejected: Final[deque[tuple[bytes, str]]] = deque(maxlen=_REJECTED_WAITING_MAX)
        self._handshakes: Final = Quota(
            burst=limits.HANDSHAKES_BURST, per_s=limits.HANDSHAKES_PER_S, share=limits.HANDSHAKES_SHARE
        )

    def tokens(self) -> list[ua.UserTokenType]:
        """Return the kinds of identity that are taken on a secure channel."""
        kinds = [ua.UserTokenType.Anonymous] if self.rules.anonymous_roles else []
        if self.rules.has_users:
            kinds.append(ua.UserTokenType.UserName)
        return [*kinds, ua.UserTokenType.Certificate]

    def admit(self, chain: bytes, peer: str) -> None:
        """Return if the program that shows this certificate may open or renew a channel.

        Raises:
            ServiceError: it may not, or not now.

        """
        try:
            judge_application(chain, self.trust, now=wire_time())
        except Rejected as error:
            self._turn_away(error, peer)
            raise KnownRefusal(error.code) from error
        self.spend(peer)

    def spend(self, peer: str) -> None:
        """Return if this client may have our private key work once more.

        Raises:
            ServiceError: its address, or all together, have had too much of it.

        """
        if not self._handshakes.take(source_of(peer), asyncio.get_running_loop().time()):
            self.refusals.event(RATE_LIMITED, actor="", peer=peer, refused="too many handshakes")
            raise KnownRefusal(ua.StatusCodes.BadTcpServerTooBusy)

    async def identify(
        self, params: ua.ActivateSessionParameters, policy: Any, nonce: bytes, peer: str
    ) -> Caller:
        """Return who activates a session. `nonce`: the one that the session was given last.

        Raises:
            KnownRefusal: nobody who may; it is told already, as a login.

        """
        token: Any = params.UserIdentityToken
        if token is None or (
            isinstance(token, ua.ExtensionObject) and token.TypeId == ua.NodeId(ua.Int32(0))
        ):
            token = ua.AnonymousIdentityToken()  # OPC 10000-4, 5.6.3: null means anonymous
        is_secure = policy.Mode != ua.MessageSecurityMode.None_
        if is_secure:
            self.spend(peer)
        if isinstance(token, ua.AnonymousIdentityToken) and self.rules.anonymous_roles:
            return anonymous(self.rules.anonymous_roles)
        if is_secure and self.rules.has_users and isinstance(token, ua.UserNameIdentityToken):
            return await self._by_password(token, policy, nonce, peer)
        if is_secure and isinstance(token, ua.X509IdentityToken):
            return self._by_certificate(token, params.UserTokenSignature, policy, nonce, peer)
        self.doorkeeper.tell("LOGIN", actor="", peer=peer, refused="an identity that is not offered")
        raise KnownRefusal(ua.StatusCodes.BadIdentityTokenRejected)

    async def _by_password(self, token: Any, policy: Any, nonce: bytes, peer: str) -> Caller:
        name = str(token.UserName or "")
        password = _password(token, policy, nonce)
        # A name of bytes that are no UTF-8 is nobody's, and no record could hold it.
        if password is None or len(name) > _NAME_MAX or not is_storable(name):
            self.doorkeeper.tell("LOGIN", actor="", peer=peer, refused="a malformed password token")
            raise KnownRefusal(ua.StatusCodes.BadIdentityTokenInvalid)
        try:
            async with asyncio.timeout(limits.IDENTIFY_DEADLINE_S):
                return await self.doorkeeper.by_password(name, password, peer=peer)
        except CallerError as error:
            raise KnownRefusal(ua.StatusCodes.BadUserAccessDenied) from error
        except (DeviceError, TimeoutError) as error:
            raise KnownRefusal(ua.StatusCodes.BadResourceUnavailable) from error

    def _by_certificate(self, token: Any, signature: Any, policy: Any, nonce: bytes, peer: str) -> Caller:
        try:
            certificate, user = judge_user(token.CertificateData or b"", self.trust, now=wire_time())
        except Rejected as error:
            self._turn_away(error, peer)
            raise KnownRefusal(error.code) from error
        name = f"certificate:{user.name}"
        # By the channel's algorithm, no weaker one of the client's choice.
        verifier = VERIFIERS[policy.AsymmetricSignatureURI](certificate)
        if not is_signed(verifier, (policy.host_certificate or b"") + nonce, signature):
            self.doorkeeper.tell("LOGIN", actor=name, peer=peer, refused="the signature is not its own")
            raise KnownRefusal(ua.StatusCodes.BadUserSignatureInvalid)
        self.doorkeeper.tell("LOGIN", actor=name, peer=peer)
        return Caller(name=name, roles=frozenset({user.role}), how=Shown.CERTIFICATE)

    async def may_stay(self, caller: Caller, application: bytes, user_certificate: bytes) -> bool:
        """Say whether a session goes on: its program and its user are still let in.

        Nobody can say (the users' database is away): it goes on, or a dead database would blind the control room.
        """
        now = wire_time()
        if application and (
            application not in self.trust.applications or not in_its_time(application, now=now)
        ):
            return False
        if caller.how is Shown.CERTIFICATE:
            user = self.trust.users.get(user_certificate)
            return (
                user is not None
                and f"certificate:{user.name}" == caller.name
                and caller.roles == {user.role}
                and in_its_time(user_certificate, now=now)
            )
        if caller.how is Shown.NOTHING:
            return True
        return await self.doorkeeper.standing(caller) is not Standing.OVER

    def _turn_away(self, error: Rejected, peer: str) -> None:
        self.refusals.event(CERTIFICATE_REJECTED, actor="", peer=peer, refused=error.why)
        if error.certificate:
            self.rejected.append((error.certificate, error.why))


def source_of(peer: str) -> str:
    """Return whom a client's share is counted for: its address, of IPv6 the network that one customer has (a /64)."""
    address = peer.rpartition(":")[0].strip("[]").partition("%")[0]
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(found, ipaddress.IPv4Address):
        return address
    mapped = found.ipv4_mapped
    return str(mapped) if mapped is not None else ":".join(found.exploded.split(":")[:4])


def user_certificate_of(params: ua.ActivateSessionParameters) -> bytes:
    """Return the certificate that a user shows, b'' if none."""
    token: Any = params.UserIdentityToken
    return first_of(token.CertificateData or b"") if isinstance(token, ua.X509IdentityToken) else b""


def check_client(params: ua.CreateSessionParameters, policy: Any) -> None:
    """Return if a session is asked for by the program that opened the channel, and properly.

    Raises:
        ServiceError: another certificate or none, another name than the certificate's, or no nonce.

    """
    if first_of(params.ClientCertificate or b"") != policy.peer_certificate:
        raise ServiceError(ua.StatusCodes.BadSecurityChecksFailed)
    if len(params.ClientNonce or b"") < NONCE_BYTES:
        raise ServiceError(ua.StatusCodes.BadNonceInvalid)
    try:
        certificate = x509.load_der_x509_certificate(policy.peer_certificate)
        judge_uri(certificate, str(params.ClientDescription.ApplicationUri or ""))
    except Rejected as error:
        raise ServiceError(error.code) from error


def is_signed(verifier: Any, data: bytes, signature: Any) -> bool:
    """Say whether a signature is over these bytes, by this key and by the verifier's own algorithm.

    What the client calls its algorithm is not looked at: node-opcua has another name for PSS, and no name of a weaker
    one would change how it is verified.
    """
    try:
        verifier.verify(data, signature.Signature or b"")
    except (InvalidSignature, ValueError):
        return False
    return True


def _password(token: Any, policy: Any, nonce: bytes) -> str | None:
    """Return the password of an encrypted token (OPC 10000-4, 7.40.2.2); None: it is none, or was made for another.

    The nonce at its end is the one that this session was given: a token that was copied is worth nothing elsewhere.
    """
    sealed = token.Password or b""
    # No algorithm means: not encrypted. Which one is named does not matter, only the policy's own is tried.
    if not token.EncryptionAlgorithm or len(sealed) > _SECRET_BYTES_MAX:
        return None
    try:
        plain = policy.asymmetric_cryptography.Decryptor.decrypt(sealed)
    except ValueError:
        return None
    length = int.from_bytes(plain[:_LENGTH_BYTES], "little")
    secret = plain[_LENGTH_BYTES : _LENGTH_BYTES + length]
    if len(secret) != length or length < len(nonce) or not hmac.compare_digest(secret[-len(nonce) :], nonce):
        return None
    password = secret[: -len(nonce)]
    try:
        return password.decode() if len(password) <= _PASSWORD_BYTES_MAX else None
    except UnicodeDecodeError:
        return None
