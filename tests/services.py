"""The real services that tests talk to; `make services` installs them.

A test asks by fixture: `postgres`, `own_postgres`, `mbpoll`, `node_opcua`, `mosquitto`, `sparkplug_host`, `spin`,
`nmap`, `openssl`, `modbus_serial`, `chromium`, `axe_core`.
Where the program is missing the test is skipped and the summary names the program; with `CI=true` it fails.
"""

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Final, NoReturn, Self

import psycopg
import pytest
from psycopg import sql

LACK: Final = "for lack of "
"""Stands before the name of what is missing, for the closing summary."""

PEERS: Final = Path(__file__).parent / "peers"
START_BUDGET_S: Final = 60.0
STOP_BUDGET_S: Final = 15.0


def lacking(name: str) -> NoReturn:
    """Skip the test that needs `name`; fail it where everything must be there."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"{name} is missing; `make services` installs it", pytrace=False)
    pytest.skip(LACK + name)


def program(name: str, *, service: str | None = None) -> Path:
    """Return the path of a program, or skip the test for lack of its service (by default the same name)."""
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"])
    found = shutil.which(name, path=path)
    return Path(found) if found else lacking(service or name)


@pytest.fixture(scope="session")
def mbpoll() -> Path:
    """Path of mbpoll, a Modbus client in C."""
    return program("mbpoll")


@pytest.fixture(scope="session")
def nmap() -> Path:
    """Path of nmap, with its script modbus-discover."""
    return program("nmap")


@pytest.fixture(scope="session")
def openssl() -> Path:
    """Path of openssl."""
    return program("openssl")


@pytest.fixture(scope="session")
def modbus_serial() -> Path:
    """Folder to run `node` in so that `modbus/client.js`, a client on modbus-serial, can be started."""
    program("node", service="modbus-serial")
    if not (PEERS / "node_modules" / "modbus-serial" / "package.json").is_file():
        lacking("modbus-serial")
    return PEERS


@pytest.fixture(scope="session")
def spin() -> Path:
    """Path of spin, a model checker, with the C compiler that it needs."""
    program("gcc", service="spin")
    return program("spin")


@pytest.fixture(scope="session")
def chromium() -> Path:
    """Path of the system's Chromium; Playwright drives it and downloads none."""
    return program("chromium")


@pytest.fixture(scope="session")
def axe_core() -> Path:
    """Path of axe-core's script, which looks for what people cannot use (WCAG)."""
    script = PEERS / "node_modules" / "axe-core" / "axe.min.js"
    return script if script.is_file() else lacking("axe-core")


@pytest.fixture(scope="session")
def node_opcua() -> Path:
    """Folder to run `node` in (as working directory) so that `require("node-opcua-client")` is found."""
    program("node", service="node-opcua-client")
    if not (PEERS / "node_modules" / "node-opcua-client" / "package.json").is_file():
        lacking("node-opcua-client")
    return PEERS


@pytest.fixture(scope="session")
def sparkplug_host() -> Path:
    """Folder to run `node` in so that `sparkplug/host.js`, a host on mqtt.js and sparkplug-payload, can be started."""
    program("node", service="sparkplug-payload")
    for name in ("mqtt", "sparkplug-payload"):
        if not (PEERS / "node_modules" / name / "package.json").is_file():
            lacking(name)
    return PEERS


@pytest.fixture
def mosquitto() -> Iterator["Mosquitto"]:
    """A running MQTT broker for one test, which may stop and start it."""
    with Mosquitto(program("mosquitto")) as broker:
        yield broker


@pytest.fixture(scope="session")
def mosquitto_program() -> Path:
    """Path of mosquitto, for tests that configure a broker themselves."""
    return program("mosquitto")


@pytest.fixture(scope="session")
def postgres() -> Iterator["Postgres"]:
    """One PostgreSQL cluster for the whole run; each test takes its own `fresh_database()`."""
    with Postgres(_postgres_programs()) as cluster:
        yield cluster


@pytest.fixture
def own_postgres() -> Iterator["Postgres"]:
    """A PostgreSQL cluster for one test, which may stop and start it."""
    with Postgres(_postgres_programs()) as cluster:
        yield cluster


class Mosquitto:
    """An MQTT broker in a temporary folder, on a free port of the loopback interface; retained messages survive it.

    Without `extra` lines of configuration anybody on this machine may connect.
    """

    def __init__(self, program: Path, extra: str = "allow_anonymous true\n") -> None:
        """Prepare a broker; `with` starts it. `{folder}` in `extra` is its folder."""
        self._program = program
        self._extra = extra
        self._process: subprocess.Popen[bytes] | None = None
        self.folder = Path()
        self.port = 0

    def start(self) -> None:
        """Start the broker, on the port it had before, and wait until it listens."""
        assert self._process is None, "the broker runs already"
        command: list[str | Path] = [self._program, "-c", self.folder / "mosquitto.conf"]
        if setpriv := shutil.which("setpriv"):
            command = [setpriv, "--pdeathsig", "TERM", *command]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                command, cwd=self.folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        deadline_s = time.monotonic() + START_BUDGET_S
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=2).close()
            except OSError as error:
                if self._process.poll() is not None or time.monotonic() > deadline_s:
                    log_text = (self.folder / "log").read_text(errors="replace")
                    raise RuntimeError(f"mosquitto did not start: {error}\n{log_text}") from error
                with suppress(subprocess.TimeoutExpired):
                    self._process.wait(timeout=0.05)
            else:
                return

    def stop(self) -> None:
        """Stop the broker in order (its retained messages go to disk); `start` brings it back."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End the broker at once: nobody is told anything."""
        self._end(signal.SIGKILL)

    def _end(self, number: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(number)
        try:
            process.wait(timeout=STOP_BUDGET_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def __enter__(self) -> Self:
        self.folder = Path(tempfile.mkdtemp(prefix="calejo-mqtt-"))
        try:
            self.port = _free_port()
            user = f"user {pwd.getpwuid(os.geteuid()).pw_name}\n"  # as root it would become another
            lines = f"listener {self.port} 127.0.0.1\npersistence true\npersistence_location {self.folder}/\n{user}"
            extra = self._extra.replace("{folder}", str(self.folder))
            (self.folder / "mosquitto.conf").write_text(lines + extra)
            self.start()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        shutil.rmtree(self.folder)


class Postgres:
    """A PostgreSQL cluster in a temporary folder, on a free port of the loopback interface.

    Anybody on this machine may log in as anybody, without a password; nothing is synced to disk.
    """

    def __init__(self, programs: Path) -> None:
        """Prepare a cluster from the folder that holds initdb and postgres; `with` makes and starts it."""
        self._programs = programs
        # PostgreSQL refuses to run as root, and its user cannot enter pytest's own temporary folders.
        self._user = "postgres" if os.geteuid() == 0 else None
        self._folder = Path()
        self._process: subprocess.Popen[bytes] | None = None
        self.port = 0

    @property
    def superuser_url(self) -> str:
        """URL of the maintenance database, as the superuser."""
        return self.url("postgres")

    def url(self, database: str, *, user: str = "postgres") -> str:
        """URL of a database of this cluster."""
        return f"postgresql://{user}@127.0.0.1:{self.port}/{database}"

    def fresh_database(self, *, like: str = "") -> str:
        """Make a database, empty or a copy of another that nobody uses, and return its URL, as the superuser.

        Roles belong to the whole cluster.
        """
        name = f"calejo_{uuid.uuid4().hex}"
        make = sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name))
        if like:
            make += sql.SQL(" TEMPLATE {}").format(sql.Identifier(like))
        with psycopg.connect(self.superuser_url, autocommit=True) as connection:
            connection.execute(make)
        return self.url(name)

    def start(self) -> None:
        """Start the server, on the port it had before, and wait until it answers."""
        assert self._process is None, "the cluster runs already"
        command: list[str | Path] = [self._programs / "postgres", "-D", self._folder / "data"]
        command += _settings(port=self.port, socket_folder=self._folder)
        if setpriv := shutil.which("setpriv"):
            # Even a killed test run leaves no server behind.
            command = [setpriv, "--pdeathsig", "INT", *command]
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                command, cwd=self._folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log, user=self._user
            )
        deadline_s = time.monotonic() + START_BUDGET_S
        while True:
            try:
                psycopg.connect(self.superuser_url, connect_timeout=2).close()
            except psycopg.OperationalError as error:
                if self._process.poll() is not None or time.monotonic() > deadline_s:
                    log_text = (self._folder / "log").read_text(errors="replace")
                    message = f"PostgreSQL did not start: {error}\n{log_text}"
                    raise RuntimeError(message) from error
                with suppress(subprocess.TimeoutExpired):
                    self._process.wait(timeout=0.05)
            else:
                return

    def stop(self) -> None:
        """Stop the server at once, without waiting for its clients; `start` brings the same data back."""
        if self._process is None:
            return
        self._process.send_signal(signal.SIGINT)  # "fast": sessions are ended, data is written
        try:
            self._process.wait(timeout=STOP_BUDGET_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None

    def __enter__(self) -> Self:
        self._folder = Path(tempfile.mkdtemp(prefix="calejo-pg-"))
        try:
            if self._user is not None:
                shutil.chown(self._folder, user=self._user)
            self.port = _free_port()
            command: list[str | Path] = [
                self._programs / "initdb",
                "--no-sync",
                "--pgdata",
                self._folder / "data",
            ]
            command += ["--username=postgres", "--auth=trust", "--encoding=UTF8", "--locale=C.UTF-8"]
            subprocess.run(
                command,
                cwd=self._folder,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                check=True,
                user=self._user,
            )
            self.start()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        shutil.rmtree(self._folder)


def _settings(*, port: int, socket_folder: Path) -> list[str]:
    settings = {
        "port": port,
        "listen_addresses": "127.0.0.1",
        "unix_socket_directories": socket_folder,
        "max_connections": 100,
        "shared_buffers": "16MB",
        "fsync": "off",
        "synchronous_commit": "off",
        "full_page_writes": "off",
    }
    return [f"--{name}={value}" for name, value in settings.items()]


def _postgres_programs() -> Path:
    """Folder of initdb and postgres: on PATH, or where Debian keeps them, newest version first."""
    if os.geteuid() == 0:
        try:
            pwd.getpwnam("postgres")
        except KeyError:
            lacking("postgresql")
    if found := shutil.which("initdb"):
        return Path(found).resolve().parent
    versions = sorted(
        (folder for folder in Path("/usr/lib/postgresql").glob("*/bin") if (folder / "initdb").exists()),
        key=lambda folder: int(folder.parent.name),
    )
    return versions[-1] if versions else lacking("postgresql")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
