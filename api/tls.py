"""TLS of the REST port: TLS 1.2 and newer, modern suites, certificates that are replaced while it serves (SEC-4)."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Final

from actors.vocabulary import DeviceError

# OWASP ASVS 5.0, 12.1.2; TLS 1.3 has its own suites, all of them good.
CIPHERS: Final = "ECDHE+AESGCM:ECDHE+CHACHA20"


class Tls:
    """The context of the next handshake; `look` makes another one of files that were replaced."""

    def __init__(self, certificate: Path, private_key: Path) -> None:
        """Load both.

        Raises:
            DeviceError: they cannot be read, or do not fit.

        """
        self._files = certificate, private_key
        self._seen = self._stat()
        self._context = self._loaded()

    def current(self) -> ssl.SSLContext:
        """Return the context of the next handshake."""
        return self._context

    def look(self) -> bool:
        """Load the files if they changed; return whether they did.

        Raises:
            DeviceError: they cannot be read or do not fit (yet); the former go on to be shown.

        """
        seen = self._stat()
        if seen == self._seen:
            return False
        # A context of its own, read once: a pair that does not fit, or is replaced meanwhile, spoils nothing in use.
        self._context = self._loaded()
        self._seen = seen
        return True

    def _loaded(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_ciphers(CIPHERS)
        context.set_alpn_protocols(["http/1.1"])
        try:
            context.load_cert_chain(*self._files)
        except (OSError, ssl.SSLError) as error:
            # The library's own text may name neither file.
            certificate, key = self._files
            raise DeviceError(
                f"api.tls: {certificate} with {key}: {error.strerror or error} (`calejo certs init` makes some for"
                " development)"
            ) from error
        return context

    def _stat(self) -> object:
        try:
            return [(each.stat().st_mtime_ns, each.stat().st_ino) for each in self._files]
        except OSError as error:
            raise DeviceError(f"api.tls: {error.filename}: {error.strerror}") from error
