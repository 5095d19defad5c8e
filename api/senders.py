"""Whom a request came for and from: host names, origins, the kind of a body, a proxy that may speak for others."""

from __future__ import annotations

import ipaddress
from http import HTTPStatus
from typing import Any, Final

import msgspec

from actors.vocabulary.settings import ApiSettings, is_loopback
from actors.vocabulary.sources import is_same, plain

_HSTS: Final = (b"strict-transport-security", b"max-age=31536000")
_SHOWN_MAX: Final = 100


class GuardedError(Exception):
    """Ends a request before its handler: status and what to tell the client."""

    def __init__(self, status: HTTPStatus, detail: str) -> None:
        super().__init__(status, detail)
        self.status = status
        self.detail = detail


class Senders(msgspec.Struct, frozen=True, kw_only=True):
    """Who may ask. By default this machine alone. `names`: host names under which we are reached from elsewhere."""

    names: frozenset[str] = frozenset()
    anywhere: bool = False
    proxy: str = ""
    origins: frozenset[str] = frozenset()
    headers: tuple[tuple[bytes, bytes], ...] = ()

    @classmethod
    def of(cls, api: ApiSettings) -> Senders:
        """Return what the settings say."""
        names = frozenset(name.strip().lower() for name in api.names.split(",") if name.strip())
        return cls(
            names=names,
            anywhere=not (api.host == "localhost" or is_loopback(api.host)),
            proxy=api.trusted_proxy,
            origins=frozenset(each for part in api.cors_origins.split(",") if (each := part.strip().lower())),
            headers=(_HSTS,) if api.tls else (),
        )

    def admit(self, scope: Any) -> None:
        """Let a request pass, or refuse what a web page elsewhere could make a browser of ours send.

        A request that the trusted proxy passed on has, from then on, the address that the proxy names.

        Raises:
            GuardedError: host, origin or sender is not ours, or a command is no JSON.

        """
        headers = {name.lower(): value.decode("latin-1") for name, value in scope["headers"]}
        self._sender(scope, headers)
        host = headers.get(b"host", "")
        if not self._is_ours(host):
            raise GuardedError(
                HTTPStatus.MISDIRECTED_REQUEST,
                f"Host: {host[:_SHOWN_MAX]!r}, expected this machine's loopback name"
                + (", its address, or one of api.names" if self.anywhere or self.names else ""),
            )
        origin = headers.get(b"origin")
        # An address is nobody's name: what was served from another one is another site.
        is_socket = scope.get("type") == "websocket"
        if origin is not None and not is_socket and origin.lower() in self.origins:
            pass
        elif origin is not None and not self._is_own_origin(origin.partition("://")[2], host):
            raise GuardedError(
                HTTPStatus.FORBIDDEN, f"Origin: {origin[:_SHOWN_MAX]!r}, expected none or this machine"
            )
        # POST is the only method that changes anything here (a test holds that); what else there is, is answered 405.
        if scope.get("method", "GET") != "POST" or not (headers.get(b"content-type") or _has_body(headers)):
            return
        kind = headers.get(b"content-type", "").partition(";")[0].strip().lower()
        if kind != "application/json":
            raise GuardedError(
                HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
                f"Content-Type: {kind[:_SHOWN_MAX]!r}, expected application/json",
            )

    def _sender(self, scope: Any, headers: dict[bytes, str]) -> None:
        if not self.proxy or scope.get("client") is None:
            return
        peer = scope["client"][0]
        forwarded = headers.get(b"x-forwarded-for", "").rpartition(",")[2].strip()
        if (is_proxy := is_same(peer, self.proxy)) and forwarded:
            try:
                scope["client"] = (str(plain(forwarded)), 0)
            except ValueError:
                raise GuardedError(
                    HTTPStatus.BAD_REQUEST,
                    f"X-Forwarded-For: {forwarded[:_SHOWN_MAX]!r}, expected an address",
                ) from None
        elif not is_proxy and not is_loopback(peer):
            raise GuardedError(HTTPStatus.FORBIDDEN, "only by the proxy (api.trusted_proxy)")

    def _is_ours(self, host: str) -> bool:
        if is_loopback_name(host):
            return True
        name = _name_of(host)
        if name in self.names:
            return True
        # Whoever writes our address means us; a page elsewhere can only have a name lead here.
        return self.anywhere and _is_address(name)

    def _is_own_origin(self, origin: str, host: str) -> bool:
        return is_loopback_name(origin) or _name_of(origin) in self.names or origin.lower() == host.lower()


def _has_body(headers: dict[bytes, str]) -> bool:
    return b"transfer-encoding" in headers or headers.get(b"content-length", "0").strip() != "0"


def is_loopback_name(host: str) -> bool:
    """Say whether a Host header (with or without port) names the loopback of this machine."""
    name = _name_of(host)
    return name == "localhost" or is_loopback(name)


def _name_of(host: str) -> str:
    name = host.removeprefix("[").partition("]")[0] if host.startswith("[") else host.partition(":")[0]
    return name.lower()


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
