"""Whether Python's compiled files are there: without them every worker's start measures the compiler."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterable
from importlib.util import MAGIC_NUMBER, cache_from_source
from pathlib import Path
from typing import Final

import msgspec

# What the workers import most; one installation compiles all of site-packages or none of it.
LIBRARIES: Final = ("ray", "msgspec", "loguru", "asyncua", "pymodbus", "sqlalchemy", "litestar", "uvicorn")
OURS: Final = ("actors", "api", "ops", "protocols", "storage", "supervisors")
# Some libraries ship templates ending in .py that no Python compiles.
_MISSING_SHARE_MAX: Final = 0.05
_HEADER_BYTES: Final = 16


class Compiled(msgspec.Struct, frozen=True, kw_only=True):
    """A package's source files, and how many of them have no compiled file that Python would take."""

    package: str
    files: int
    missing: int

    @property
    def enough(self) -> bool:
        """Whether a start from it measures no compiling."""
        return self.missing <= self.files * _MISSING_SHARE_MAX


def look(package: str, folder: Path) -> Compiled:
    """Count the source files below `folder` and those that Python would compile anew."""
    sources = [path for path in folder.rglob("*.py") if path.is_file()]
    return Compiled(
        package=package, files=len(sources), missing=sum(not _is_compiled(source) for source in sources)
    )


def uncompiled(packages: Iterable[str] = (*LIBRARIES, *OURS)) -> list[Compiled]:
    """Return the packages without enough bytecode, of those that are installed."""
    looked = (look(package, folder) for package in packages for folder in _folders(package))
    return [each for each in looked if not each.enough]


def _folders(package: str) -> list[Path]:
    spec = importlib.util.find_spec(package)
    return [] if spec is None else [Path(each) for each in spec.submodule_search_locations or ()]


def refusal(lacking: Iterable[Compiled]) -> str:
    """Return the line for a person: what lacks bytecode, and what to do."""
    parts = ", ".join(f"{each.package} ({each.missing} of {each.files} files)" for each in lacking)
    return (
        f"no compiled bytecode for {parts}: every start would measure the compiler. Use `make bench`, or compile"
        f" first: {sys.executable} -m compileall -q {' '.join(OURS)} and the environment's site-packages"
    )


def _is_compiled(source: Path) -> bool:
    """Whether the compiled file is of this Python and of this very source (PEP 552: time and size, or unchecked)."""
    try:
        with Path(cache_from_source(str(source))).open("rb") as compiled:
            header = compiled.read(_HEADER_BYTES)
        stat = source.stat()
    except OSError:
        return False
    if len(header) < _HEADER_BYTES or header[:4] != MAGIC_NUMBER:
        return False
    if int.from_bytes(header[4:8], "little"):
        return True  # known by its source's hash: made by whoever installed it
    written, size = int.from_bytes(header[8:12], "little"), int.from_bytes(header[12:16], "little")
    return written == int(stat.st_mtime) & 0xFFFF_FFFF and size == stat.st_size & 0xFFFF_FFFF
