"""Facts about this machine and this checkout, to stand beside every figure."""

from __future__ import annotations

import os
import platform
import subprocess
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

from ops.bench.report import Machine

_LIBRARIES: Final = ("ray", "asyncua", "pymodbus", "litestar", "uvicorn", "sqlalchemy", "msgspec")
_GIT_S: Final = 10.0


def facts() -> Machine:
    """Return where and with what is measured now."""
    return Machine(
        date_utc=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),  # noqa: TID251  (a shell; for people)
        commit=_commit(),
        processor=_processor(),
        cores=len(os.sched_getaffinity(0)),
        memory_mib=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // (1024 * 1024),
        load_1_min=os.getloadavg()[0],
        kernel=platform.release(),
        python=platform.python_version(),
        versions={name: found for name in _LIBRARIES if (found := _version(name))},
    )


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return platform.machine()
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.machine())


def _commit() -> str:
    """Return the checkout's commit, marked when files differ from it; 'unknown' outside a checkout."""
    folder = Path(__file__).resolve().parents[2]

    def git(*arguments: str) -> str:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments],  # noqa: S607  (the user's own git)
            capture_output=True,
            text=True,
            timeout=_GIT_S,
            check=True,
        )
        return done.stdout.strip()

    try:
        commit = git("rev-parse", "--short=12", "HEAD")
        return f"{commit} with changes" if git("status", "--porcelain") else commit
    except (OSError, subprocess.SubprocessError):
        return "unknown"
