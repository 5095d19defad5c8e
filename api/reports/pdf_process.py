"""Draws a report's PDF in a process of its own: seconds of work, beside which a stop must not wait (AUD-3, EST-1).

`python -m api.reports.pdf_process` reads a report as JSON and writes its PDF; it yields to whoever else wants the
processor, and ends by itself.
"""

from __future__ import annotations

import asyncio
import os
import resource
import sys
from typing import Final

import msgspec

from actors.vocabulary import UnavailableError
from api.reports.report import Report

WITHIN_S: Final = 50.0
_CPU_S_MAX: Final = 60
_NICE: Final = 10
_BEGINS: Final = b"%PDF-"


async def drawn(report: Report, *, within_s: float = WITHIN_S) -> bytes:
    """Return the report as PDF.

    Raises:
        UnavailableError: it was not drawn within `within_s`, or its process did not get through.

    """
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-I",
        "-m",
        __name__,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(within_s):
            made, _ = await process.communicate(msgspec.json.encode(report))
    except TimeoutError as error:
        raise UnavailableError(f"report: no PDF within {within_s:g} s; choose a shorter period") from error
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    # Not by its exit code alone: a process whose parent waits for children elsewhere has none.
    if not made.startswith(_BEGINS):
        raise UnavailableError(f"report: the PDF's process ended without it ({process.returncode})")
    return made


def main() -> None:
    """Read a report, write its PDF."""
    os.nice(_NICE)
    resource.setrlimit(resource.RLIMIT_CPU, (_CPU_S_MAX, _CPU_S_MAX))
    from api.reports.pdf import as_pdf  # noqa: PLC0415  (who asks for a PDF need not hold ReportLab)

    report = msgspec.json.decode(sys.stdin.buffer.read(), type=Report)
    sys.stdout.buffer.write(as_pdf(report))


if __name__ == "__main__":
    main()
