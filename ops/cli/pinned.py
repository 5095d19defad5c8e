"""An https connection to the run of this machine: its server must show exactly the certificate that the run names.

No authority and no host name is asked: whoever reads the file on this machine knows the server better than they do.
"""

from __future__ import annotations

import http.client
import ssl
from pathlib import Path

_END = "-----END CERTIFICATE-----"


class PinnedConnection(http.client.HTTPSConnection):
    """Sends nothing before the server's certificate was compared."""

    def __init__(self, host: str, port: int | None, *, timeout_s: float, certificate: Path) -> None:
        """Take the file of the certificate.

        Raises:
            ConnectionError: it cannot be read.

        """
        try:
            first, found, _ = certificate.read_text("ascii").partition(_END)
            self._expected = ssl.PEM_cert_to_DER_cert((first + found)[first.index("-----BEGIN CERT") :])
        except (OSError, ValueError) as error:
            text = f"{certificate}: the run's certificate cannot be read ({error})"
            raise ConnectionError(text) from error
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        super().__init__(host, port, timeout=timeout_s, context=context)

    def connect(self) -> None:
        """Connect, and compare.

        Raises:
            ConnectionError: somebody else answers there, or a certificate that was replaced a moment ago.

        """
        super().connect()
        shown = self.sock.getpeercert(binary_form=True) if isinstance(self.sock, ssl.SSLSocket) else None
        if shown != self._expected:
            self.close()
            text = "the server shows another certificate than the run's"
            raise ConnectionError(text)
