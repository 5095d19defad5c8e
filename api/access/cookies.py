"""The browser's session cookie: its name, its attributes, and the proof that a page of ours sent it (SEC-1).

It holds a token of the same session as a program's, which scripts cannot read. A browser sends it by itself, so a
command needs more: a header with the proof, which only a page that we made knows.
"""

from __future__ import annotations

import hashlib
import hmac
from typing import Any, Final

import msgspec
from litestar.connection import ASGIConnection
from litestar.datastructures import Cookie

from actors.vocabulary.settings import ApiSettings

PROOF_HEADER: Final = "calejo-proof"
_READS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_FROM_OURSELVES: Final = frozenset({"same-origin", "none"})
_CONTEXT: Final = b"calejo-proof:"


class Shown(msgspec.Struct, frozen=True, kw_only=True):
    """A cookie as a request showed it. `proved`: a page of ours sent the request, or it changes nothing."""

    token: str
    proved: bool


class Cookies(msgspec.Struct, frozen=True, kw_only=True):
    """How the cookie is called and set. `secure`: it leaves the browser over TLS only."""

    name: str
    secure: bool

    @classmethod
    def of(cls, api: ApiSettings) -> Cookies:
        """Return what fits the settings; browsers share cookies between the ports of a host, so the port is named."""
        secure = api.tls or bool(api.trusted_proxy)
        return cls(name=f"{'__Host-' if secure else ''}calejo-{api.rest}", secure=secure)

    def shown(self, connection: ASGIConnection[Any, Any, Any, Any]) -> Shown | None:
        """Return what a request shows, None: nothing."""
        token = connection.cookies.get(self.name, "")
        if not token:
            return None
        site = connection.headers.get("sec-fetch-site", "none")
        proved = site in _FROM_OURSELVES
        if str(connection.scope.get("method", "GET")) not in _READS:
            given = connection.headers.get(PROOF_HEADER, "")
            # Bytes: what is not ASCII is no proof, and no error of ours.
            proved = proved and hmac.compare_digest(
                given.encode("utf-8", "replace"), proof_of(token).encode()
            )
        return Shown(token=token, proved=proved)

    def given(self, token: str) -> Cookie:
        """Return the cookie of a new session; it lasts as long as the browser, its token ends when the session does."""
        return Cookie(
            key=self.name, value=token, path="/", httponly=True, secure=self.secure, samesite="strict"
        )

    def taken(self) -> Cookie:
        """Return what has a browser forget it."""
        return Cookie(
            key=self.name, value="", path="/", httponly=True, secure=self.secure, samesite="strict", max_age=0
        )


def proof_of(token: str) -> str:
    """Return what a page of ours sends along with a command: known only to who knows the cookie, which no script is."""
    return hashlib.sha256(_CONTEXT + token.encode("utf-8", "replace")).hexdigest()
