"""Logs of one process: JSON lines in a file of its own under `<data-dir>/logs`, rotated and bounded (OPS-1)."""

from __future__ import annotations

import json
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from loguru import logger

from actors.runtime import Log
from actors.vocabulary import Address
from actors.vocabulary.settings import LogSettings

if TYPE_CHECKING:
    from loguru import Record

_MIB: Final = 1024 * 1024


def _line(record: Record) -> str:
    """Return loguru's template for one JSON line; the line itself travels in `extra` so that braces stay text."""
    fields: dict[str, Any] = {name: value for name, value in record["extra"].items() if name != "_json"}
    fields |= {
        "at": record["time"].isoformat(),
        "level": record["level"].name,
        "event": record["message"],
        "pid": record["process"].id,
    }
    error = record["exception"]
    if error is not None and error.value is not None:
        fields["traceback"] = "".join(traceback.format_exception(error.value))
    record["extra"]["_json"] = json.dumps(fields, default=str, ensure_ascii=False)
    return "{extra[_json]}\n"


def log_file(data_dir: str, address: Address) -> Path:
    """Return where the process at `address` logs: rotation is per process, so two never share a file."""
    name = address.strip("/").replace("/", ".") or "root"
    return Path(data_dir) / "logs" / f"{name}.jsonl"


def configure(settings: LogSettings, *, data_dir: str, address: Address) -> None:
    """Log to this process's own file only, from now on.

    Raises:
        OSError: the folder or file cannot be written.

    """
    path = log_file(data_dir, address)
    path.parent.mkdir(parents=True, exist_ok=True)
    logger.remove()
    logger.add(
        path,
        level=settings.level,
        format=_line,
        rotation=settings.rotation_mib * _MIB,
        retention=settings.retention_files,
        backtrace=False,
        diagnose=False,  # would print values of local variables, secrets among them
    )


class LoguruLog(Log):
    """An actor's log: every line names its address and role."""

    def __init__(self, address: Address, role: str) -> None:
        self._address = str(address)
        self._role = role

    def _write(self, level: str, event: str, fields: dict[str, object]) -> None:
        bound = {**fields, "address": self._address, "role": self._role}
        logger.bind(**bound).log(level, event)

    def info(self, event: str, **fields: object) -> None:
        """Something a person may want to know."""
        self._write("INFO", event, fields)

    def warning(self, event: str, **fields: object) -> None:
        """Something that is not as it should be."""
        self._write("WARNING", event, fields)

    def error(self, event: str, **fields: object) -> None:
        """Something that somebody must look at."""
        self._write("ERROR", event, fields)
