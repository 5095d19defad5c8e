"""`calejo audit report KIND --out FILE`: a compliance report as HTML, CSV or PDF (AUD-3)."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Final

from actors.vocabulary import CalejoError, DeviceError
from ops.cli.audit import trail_settings, waited
from ops.cli.exits import DONE, FAILED, USAGE, ExitError
from ops.cli.output import show as show_rows

_CSV: Final = ".csv"


def report(arguments: argparse.Namespace) -> int:
    """Write one report; it says whether the trail that it comes from holds. A CSV has its facts beside it.

    Exit 1 also where records are missing in it, or the trail is not proved; the report is there all the same.

    Raises:
        ExitError: (2) the file's ending or a time is none, (1) database or disk refuses.

    """
    from api.reports import report as audit_report
    from ops.audit_state import not_seen, proof
    from ops.audit_trail import looked_up, moment_of, now_utc, opened, verified
    from storage.audit_reader import AuditBook
    from storage.audit_segments import newest_of

    out = Path(arguments.out)
    if out.suffix not in {".html", _CSV, ".pdf"}:
        raise ExitError(USAGE, f"--out: {out.name!r}, expected a name that ends in .html, .csv or .pdf")
    try:
        since = moment_of(arguments.since, what="--since")
        until = moment_of(arguments.until, what="--until")
    except CalejoError as error:
        raise ExitError(USAGE, str(error)) from error
    settings = trail_settings(arguments)

    async def work() -> tuple[audit_report.Report, bool]:
        verdict = await verified(settings, segments=arguments.segments)
        archived = await looked_up(settings, arguments.segments)
        async with opened(settings) as database:
            made = await audit_report.gathered(
                AuditBook(database),
                arguments.kind,
                since=since,
                until=until,
                made_at=now_utc(),
                proof=proof(verdict),
                older=lambda query, count, keep: newest_of(archived.paths, query, count_max=count, keep=keep),
                rows_max=audit_report.ROWS_MAX,
                lacks=[not_seen(archived.unseen)] if archived.unseen else (),
            )
        return made, verdict.is_whole

    made, is_proved = waited(work())
    facts = out.with_name(f"{out.stem}.facts.csv")
    try:
        out.write_bytes(_written(out.suffix, made))
        if out.suffix == _CSV:
            facts.write_bytes(audit_report.facts_csv(made).encode())
    except OSError as error:
        raise ExitError(FAILED, str(DeviceError(f"{out}: {error.strerror}"))) from error
    told = {
        "report": made.title,
        "records": len(made.rows),
        "file": str(out),
        "facts": str(facts) if out.suffix == _CSV else "",
        "trail_holds": is_proved,
        "whole": not made.lacks,
    }
    show_rows(told, tuple(told), form=arguments.format)
    for lack in made.lacks:
        print(f"calejo: not whole: {lack}", file=sys.stderr)
    if not is_proved:
        print(f"calejo: the trail: {dict(made.facts)['State of the trail']}", file=sys.stderr)
    return DONE if is_proved and not made.lacks else FAILED


def _written(suffix: str, made: object) -> bytes:
    from api.reports import report as audit_report

    assert isinstance(made, audit_report.Report)
    if suffix == ".pdf":
        from api.reports.pdf import as_pdf

        return as_pdf(made)
    return (audit_report.as_html(made) if suffix == ".html" else audit_report.as_csv(made)).encode()
