"""Goal: REST over TLS, its certificate replaced while it serves, and beyond loopback only so. Real sockets."""

from __future__ import annotations

import http.client
import socket
import ssl
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from actors.vocabulary import DeviceError, RefusedError
from actors.vocabulary.settings import ApiSettings, health_host
from api import handshakes
from api.senders import GuardedError, Senders
from api.server import bind_rest
from api.tls import Tls
from ops.certificates import init, renew
from ops.cli.client import call
from ops.ports import free_ports
from storage.certificates import FOLDER, Server, read
from tests.unit.api.served import Served, moment, served, until


@contextmanager
def over_tls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    """Serve with certificates of our own authority."""
    init(tmp_path / FOLDER, hosts=["calejo.example"], now=moment().utc)
    plain = Served.start_arguments

    def start_arguments(self: Served) -> Any:
        start = plain(self)
        api = msgspec.structs.replace(start.settings.api, tls=True, names="calejo.example")
        return msgspec.structs.replace(start, settings=msgspec.structs.replace(start.settings, api=api))

    monkeypatch.setattr(Served, "start_arguments", start_arguments)
    with served(tmp_path) as api:
        yield api


def trusting(tmp_path: Path, **limits: Any) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(tmp_path / FOLDER / "ca.pem"))
    for name, value in limits.items():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # the old version is what is tried
            setattr(context, name, value)
    return context


def certificate_of(api: Served, context: ssl.SSLContext) -> bytes:
    with (
        socket.create_connection(("127.0.0.1", api.rest), timeout=10) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as client,
    ):
        shown = client.getpeercert(binary_form=True)
        assert shown is not None
        assert client.version() in {"TLSv1.2", "TLSv1.3"}
        return shown


def test_a_client_that_trusts_the_authority_is_served(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SEC-4: https with a verified chain and name; HSTS; health stays as it is; plain HTTP gets nothing."""
    with over_tls(tmp_path, monkeypatch) as api:
        context = trusting(tmp_path)
        connection = http.client.HTTPSConnection("localhost", api.rest, context=context, timeout=10)
        connection.request(
            "GET", "/api/v1/pumps",
            headers={"Authorization": f"Bearer {api.token()}", "Host": f"calejo.example:{api.rest}"},
        )  # fmt: skip
        response = connection.getresponse()
        assert response.status == 200
        assert response.getheader("strict-transport-security") == "max-age=31536000"
        response.read()
        connection.close()
        assert api.call("GET", "/health/live", port=api.health, token="").status == 200
        with pytest.raises((OSError, http.client.HTTPException)):
            api.get("/api/v1/alive", token="")
        with pytest.raises(ssl.SSLError):
            certificate_of(api, ssl.create_default_context())


def test_connections_that_never_shake_hands_keep_nobody_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SEC-4, EST-4: 300 that send nothing hold 64 places, in which nobody else waits; all of them end by themselves."""
    monkeypatch.setattr(handshakes, "HANDSHAKE_S", 2.0)
    with over_tls(tmp_path, monkeypatch) as api:
        server, context = api.actor._servers[0][1], trusting(tmp_path)
        porch = server._porch
        assert porch is not None
        silent = [socket.create_connection(("127.0.0.1", api.rest), timeout=20) for _ in range(300)]
        try:
            until(lambda: api.desk.log.counts.get(("RATE_LIMITED", "refused"), 0) >= 300 - 64)
            assert len(porch) <= handshakes.HANDSHAKES_MAX
            assert certificate_of(api, context)
            assert _ended(silent[0])
            until(lambda: len(porch) == 0)
            assert all(_ended(each) for each in silent)
            assert certificate_of(api, context)
        finally:
            for each in silent:
                each.close()


def test_an_address_has_so_many_handshakes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SEC-4: of one address the oldest of its own gives way; nobody else's."""
    monkeypatch.setattr(handshakes, "HANDSHAKES_PER_ADDRESS_MAX", 2)
    monkeypatch.setattr("api.server.is_trusted", lambda address, proxy: False)
    with over_tls(tmp_path, monkeypatch) as api:
        silent = [socket.create_connection(("127.0.0.1", api.rest), timeout=20) for _ in range(3)]
        try:
            assert _ended(silent[0])
            assert api.desk.log.counts["RATE_LIMITED", "refused"] == 1
        finally:
            for each in silent:
                each.close()


def _ended(client: socket.socket) -> bool:
    try:
        return client.recv(1) == b""
    except ConnectionError:
        return True


def test_old_versions_and_suites_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SEC-4: TLS 1.2+ with modern suites."""
    with over_tls(tmp_path, monkeypatch) as api:
        old = trusting(tmp_path, minimum_version=ssl.TLSVersion.TLSv1, maximum_version=ssl.TLSVersion.TLSv1_1)
        weak = trusting(tmp_path, maximum_version=ssl.TLSVersion.TLSv1_2)
        weak.set_ciphers("AES128-SHA:AES256-SHA")
        for context in (old, weak):
            with pytest.raises((ssl.SSLError, ConnectionError)):
                certificate_of(api, context)


def beaten(api: Served) -> bool:
    """Let a second pass for the actor."""
    api.tick("keep")
    return True


def conditions(api: Served, kind: str) -> list[Any]:
    return [
        each
        for _, each in api.tree.told
        if type(each).__name__ == kind and each.condition == "certificate_not_taken_up"
    ]


def test_a_replaced_certificate_is_taken_up_while_it_serves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SEC-4: rotated without a restart; a pair that does not fit changes nothing, and is alarmed until it fits."""
    folder = tmp_path / FOLDER
    with over_tls(tmp_path, monkeypatch) as api:
        context = trusting(tmp_path)
        first = certificate_of(api, context)
        key = (folder / "rest-key.pem").read_bytes()
        renew(folder, Server.REST, hosts=[], now=moment().utc)
        good = (folder / "rest-key.pem").read_bytes()
        (folder / "rest-key.pem").write_bytes(key)
        until(lambda: beaten(api) and conditions(api, "AlarmAsserted"))
        assert certificate_of(api, context) == first
        (folder / "rest-key.pem").write_bytes(good)
        until(lambda: beaten(api) and conditions(api, "AlarmReturned"))
        second = certificate_of(api, context)
        assert second != first
        assert second == read(folder / "rest.pem").public_bytes(Encoding.DER)
        until(
            lambda: any(
                getattr(each, "event_type", "") == "CERTIFICATE_REPLACED" for each in api.tree.records
            )
        )


def test_the_command_line_takes_exactly_the_runs_certificate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SEC-4: pinned: our own is taken under any name, another's never sees a credential."""
    with over_tls(tmp_path, monkeypatch) as api:
        base, own = f"https://127.0.0.1:{api.rest}", str(tmp_path / FOLDER / "rest.pem")
        assert call(base, "GET", "/api/v1/alive", certificate=own) == {"alive": True}
        other = str(tmp_path / FOLDER / "modbus.pem")
        with pytest.raises(ConnectionError, match="another certificate"):
            call(base, "GET", "/api/v1/alive", certificate=other)
        with pytest.raises(ConnectionError, match="cannot be read"):
            call(base, "GET", "/api/v1/alive", certificate="/nowhere.pem")


def test_files_that_cannot_be_served_are_refused_at_the_start(tmp_path: Path) -> None:
    """SEC-4: one line that names the files and what to do."""
    with pytest.raises(DeviceError, match=r"api\.tls: .*rest\.pem"):
        Tls(tmp_path / "rest.pem", tmp_path / "rest-key.pem")
    init(tmp_path, hosts=[], now=moment().utc)
    with pytest.raises(DeviceError, match="calejo certs init"):
        Tls(tmp_path / "rest.pem", tmp_path / "modbus-key.pem")


def test_beyond_loopback_only_with_tls_or_a_proxy() -> None:
    """SEC-4: the socket itself refuses, whatever the configuration was taken for; health never leaves loopback."""
    (port,) = free_ports(1)
    with pytest.raises(RefusedError, match="loopback"):
        bind_rest(ApiSettings(host="0.0.0.0", rest=port))
    for more in ({"tls": True}, {"trusted_proxy": "192.0.2.1"}):
        settings = msgspec.convert({"host": "0.0.0.0", "rest": port, **more}, ApiSettings)
        bind_rest(settings).close()
        assert health_host(settings) == "127.0.0.1"
    assert health_host(ApiSettings(host="::1")) == "::1"


def scope(peer: str, **headers: str) -> dict[str, Any]:
    named = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return {"method": "GET", "client": (peer, 1), "headers": named}


def test_only_the_proxy_speaks_for_others() -> None:
    """SEC-4: its X-Forwarded-For counts, its last entry; nobody else's does, and nobody else is answered."""
    senders = Senders.of(ApiSettings(host="192.0.2.7", trusted_proxy="192.0.2.1", names="calejo.example"))
    passed = scope("192.0.2.1", host="calejo.example", x_forwarded_for="10.9.9.9, 203.0.113.5")
    senders.admit(passed)
    assert passed["client"][0] == "203.0.113.5"
    own = scope("127.0.0.1", host="localhost", x_forwarded_for="203.0.113.5")
    senders.admit(own)
    assert own["client"][0] == "127.0.0.1"
    with pytest.raises(GuardedError, match="proxy"):
        senders.admit(scope("192.0.2.66", host="calejo.example", x_forwarded_for="127.0.0.1"))
    with pytest.raises(GuardedError, match="expected an address"):
        senders.admit(scope("192.0.2.1", host="calejo.example", x_forwarded_for="localhost"))


@pytest.mark.parametrize(
    ("host", "origin", "passes"),
    [
        ("calejo.example:8080", "", True),
        ("calejo.example", "https://calejo.example", True),
        ("192.0.2.7:8080", "", True),
        ("192.0.2.7:8080", "https://192.0.2.7:8080", True),
        ("localhost", "", True),
        ("evil.example", "", False),
        ("calejo.example.evil.example", "", False),
        ("calejo.example", "https://evil.example", False),
        ("192.0.2.7:8080", "https://203.0.113.9:8080", False),
        ("calejo.example", "null", False),
        ("", "", False),
    ],
)
def test_names_and_origins_beyond_loopback(host: str, origin: str, passes: bool) -> None:
    """SEC-1, SEC-4: a page elsewhere can lead a name here, or post from there; neither passes."""
    senders = Senders.of(ApiSettings(host="192.0.2.7", tls=True, names="calejo.example"))
    sent = scope("203.0.113.5", host=host, **({"origin": origin} if origin else {}))
    if passes:
        senders.admit(sent)
        return
    with pytest.raises(GuardedError):
        senders.admit(sent)
