"""pymodbus's TCP client inside TLS, as Modbus/TCP Security wants it, for the kit's clients."""

from __future__ import annotations

import ssl

from pymodbus.client import AsyncModbusTcpClient
from pymodbus.transport import CommParams, CommType

from actors.vocabulary import DeviceError
from ops.kit.papers import TlsPapers


class OverTls(AsyncModbusTcpClient):
    """pymodbus's TCP client inside TLS. Its own TLS client leaves out the header that Modbus/TCP Security keeps."""

    def __init__(self, host: str, port: int, context: ssl.SSLContext, *, answer_s: float) -> None:
        self.comm_params = CommParams(
            comm_type=CommType.TLS,
            host=host,
            port=port,
            comm_name="comm",
            sslctx=context,
            reconnect_delay=0,
            reconnect_delay_max=0,
            timeout_connect=answer_s,
        )
        super().__init__(host, port=port, retries=0)


def tls_context(papers: TlsPapers) -> ssl.SSLContext:
    """Return a context that takes one server certificate and no other, under whatever name it is reached.

    Raises:
        DeviceError: a file cannot be used.

    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.check_hostname = False
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    try:
        context.load_cert_chain(papers.certificate, papers.private_key)
        context.load_verify_locations(papers.server)
    except (OSError, ssl.SSLError) as error:
        raise DeviceError(f"modbus: {papers.certificate}: {error.strerror or error}") from error
    return context
