"""Owns the data directory of a run: it is writable, one run has it, and `run.json` tells others where it listens."""

from __future__ import annotations

import fcntl
import os
import re
from contextlib import suppress
from pathlib import Path
from typing import Final
from uuid import uuid4

import msgspec

from actors.vocabulary import DeviceError, RefusedError
from actors.vocabulary.settings import PortSettings, Settings, health_host, modbus_host

RUN_FILE: Final = "run.json"
LOCK_FILE: Final = "lock"
IDENTITY_FILE: Final = "identity"
_TRIES: Final = 10


class Urls(msgspec.Struct, frozen=True, kw_only=True):
    """Where a run listens, as others write it: an IPv6 address in brackets."""

    rest: str
    health: str
    opcua: str
    modbus: str
    modbus_tls: str = ""


def url_host(host: str) -> str:
    """Return a host as it stands before `:port`."""
    return f"[{host}]" if ":" in host else host


def urls_of(settings: Settings) -> Urls:
    """Return where a run with these settings listens."""
    rest, scheme = reached_at(settings.api.host), "https" if settings.api.tls else "http"
    modbus = url_host(reached_at(modbus_host(settings, settings.ports)))
    return Urls(
        rest=f"{scheme}://{url_host(rest)}:{settings.api.rest}",
        health=f"http://{url_host(health_host(settings.api))}:{settings.api.health}",
        opcua=f"opc.tcp://{url_host(opcua_host(settings, settings.ports))}:{settings.ports.opcua}",
        modbus=f"{modbus}:{settings.ports.modbus}",
        modbus_tls=f"{modbus}:{settings.ports.modbus_tls}" if settings.modbus.tls else "",
    )


def opcua_host(settings: Settings, ports: PortSettings) -> str:
    """Return where an OPC UA endpoint is reached from this machine."""
    return reached_at(settings.opcua.host or ports.host)


def reached_at(host: str) -> str:
    """Return where a server that listens on `host` is reached from this machine."""
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104  (compared, not bound)


class SitePorts(msgspec.Struct, frozen=True, kw_only=True):
    """Where one site's endpoints listen."""

    host: str
    opcua: int
    modbus: int
    # Where Modbus is reached, and where it is bound, if not at `host`.
    modbus_host: str = ""
    modbus_listens: str = ""
    # '': as `host`.
    opcua_host: str = ""
    # 0: TLS is not served.
    modbus_tls: int = 0


class RunFile(msgspec.Struct, frozen=True, kw_only=True):
    """What `run.json` says: the foreground process, when it started (UTC), and where it listens."""

    pid: int
    started_at: str
    process_start_ticks: int
    rest: str
    health: str
    opcua: str
    modbus: str
    ray_address: str
    namespace: str
    rest_certificate: str = ""
    # False: nobody is let in without TLS; the certificate that Modbus/TLS shows, and its port (0, '': it is off).
    modbus_plain: bool = True
    modbus_certificate: str = ""
    modbus_tls: int = 0
    modbus_listens: str = ""
    site_ports: dict[str, SitePorts] = msgspec.field(default_factory=dict)


class DataDirectory:
    """The data directory, held under an exclusive lock while a run has it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock: int | None = None

    def acquire(self) -> None:
        """Create the directory, prove that it is writable and lock it.

        Raises:
            DeviceError: it cannot be created or written.
            RefusedError: another run holds it.

        """
        try:
            self.path.mkdir(parents=True, exist_ok=True, mode=0o750)
            self._lock = self._locked()
            # A few bytes tell a full or failing disk now, not when a stop has to be stored.
            os.pwrite(self._lock, f"{os.getpid()}\n".encode(), 0)
            os.fsync(self._lock)
            (self.path / RUN_FILE).unlink(missing_ok=True)
        except OSError as error:
            self.release()
            text = f"data directory {self.path}: not writable ({error.strerror})"
            raise DeviceError(text) from error

    def _locked(self) -> int:
        """Return the lock file, locked.

        Raises:
            OSError: the disk refused.
            RefusedError: another run holds it.

        """
        for _ in range(_TRIES):
            lock = os.open(self.path / LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                # A run that ended between the two lines above took its file away: then this lock guards nothing.
                if os.path.samestat(os.fstat(lock), (self.path / LOCK_FILE).stat()):
                    return lock
            except BlockingIOError:
                os.close(lock)
                break
            except FileNotFoundError:
                os.close(lock)
            except OSError:
                os.close(lock)
                raise
            else:
                os.close(lock)
        text = f"data directory {self.path}: in use by another run (stop it, or give another --data-dir)"
        raise RefusedError(text)

    def identity(self) -> str:
        """Return what names this directory among all of a cluster: 32 hexadecimal digits, made once and kept.

        Raises:
            DeviceError: the disk refuses, or the file holds something else.

        """
        from storage.files import write_whole

        path = self.path / IDENTITY_FILE
        write_whole(path, uuid4().hex.encode(), replace=False)
        try:
            text = path.read_bytes().decode(errors="replace").strip()
        except OSError as error:
            raise DeviceError(f"{path}: {error.strerror}") from error
        if re.fullmatch(r"[0-9a-f]{32}", text) is None:
            raise DeviceError(
                f"{path}: {text[:40]!r}, expected 32 hexadecimal digits (without the file a new identity is made,"
                " and a tree that still runs under the old one is not found)"
            )
        return text

    def announce(self, settings: Settings, *, started_at: str, ray_address: str, namespace: str) -> None:
        """Write `run.json`, whole or not at all.

        Raises:
            DeviceError: the disk refused.

        """

        def where(ports: PortSettings) -> SitePorts:
            return SitePorts(
                host=ports.host,
                opcua=ports.opcua,
                modbus=ports.modbus,
                modbus_host=reached_at(modbus_host(settings, ports)),
                modbus_listens=modbus_host(settings, ports),
                opcua_host=opcua_host(settings, ports),
                modbus_tls=ports.modbus_tls if settings.modbus.tls else 0,
            )

        urls = urls_of(settings)
        run = RunFile(
            pid=os.getpid(),
            started_at=started_at,
            process_start_ticks=start_ticks(os.getpid()) or 0,
            rest=urls.rest,
            health=urls.health,
            opcua=urls.opcua,
            modbus=urls.modbus,
            modbus_listens=modbus_host(settings, settings.ports),
            ray_address=ray_address,
            namespace=namespace,
            rest_certificate=_rest_certificate(settings),
            modbus_plain=settings.modbus.plain,
            modbus_certificate=_modbus_certificate(settings),
            modbus_tls=settings.ports.modbus_tls if settings.modbus.tls else 0,
            site_ports={
                key: where(site.ports) for key, site in settings.sites.items() if site.ports is not None
            },
        )
        temporary = self.path / f"{RUN_FILE}.{os.getpid()}"
        try:
            temporary.write_bytes(msgspec.json.format(msgspec.json.encode(run), indent=2))
            temporary.replace(self.path / RUN_FILE)
        except OSError as error:
            text = f"{self.path / RUN_FILE}: not written ({error.strerror})"
            raise DeviceError(text) from error

    def release(self) -> None:
        """Forget the run and let go of the lock; safe to call twice."""
        if self._lock is None:
            return
        with suppress(
            OSError
        ):  # a disk that refuses keeps files that count for nothing without a living process
            (self.path / RUN_FILE).unlink(missing_ok=True)
            (self.path / LOCK_FILE).unlink(missing_ok=True)
        os.close(self._lock)
        self._lock = None


def _rest_certificate(settings: Settings) -> str:
    if not settings.api.tls:
        return ""
    # `calejo estop` reads this module, and must start in a moment.
    from storage.certificates import rest_files

    return str(rest_files(settings)[0])


def _modbus_certificate(settings: Settings) -> str:
    if not settings.modbus.tls:
        return ""
    from storage.certificates import modbus_files

    return str(modbus_files(settings)[0])


def find_run(data_dir: Path) -> RunFile | None:
    """Return the run that holds `data_dir`, None when none is alive (a file left by a killed run does not count)."""
    try:
        run = msgspec.json.decode((data_dir / RUN_FILE).read_bytes(), type=RunFile)
    except (OSError, msgspec.DecodeError):
        return None
    return run if start_ticks(run.pid) == run.process_start_ticks else None


def start_ticks(pid: int) -> int | None:
    """Return when the process started (clock ticks since boot, proc(5) stat field 22), None when it is gone."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    # The command name in parentheses may hold spaces: count from its end. A zombie is as good as gone.
    fields = stat.rpartition(")")[2].split()
    return None if fields[0] == "Z" else int(fields[19])
