"""`calejo audit report KIND --out FILE`: a compliance report as HTML, CSV or PDF (AUD-3)."""

from __future__ import annotations

import argparse
from pathlib import Path

from actors.vocabulary import CalejoError, DeviceError
from ops.cli.audit import trail_settings, waited
from ops.cli.exits import DONE, FAILED, USAGE, ExitError
from ops.cli.output import show as show_rows


def report(arguments: argparse.Namespace) -> int:
    """Write one report; it says whether the trail that it comes from holds.

    Raises:
        ExitError: (2) the file's ending or a time is none, (1) database or disk refuses.

    """
    from api.reports import report as audit_report
    from ops.audit_trail import moment_of, now_utc, opened, verified
    from storage.audit_reader import AuditBook

    out = Path(arguments.out)
    if out.suffix not in {".html", ".csv", ".pdf"}:
        raise ExitError(USAGE, f"--out: {out.name!r}, expected a name that ends in .html, .csv or .pdf")
    try:
        since = moment_of(arguments.since, what="--since")
        until = moment_of(arguments.until, what="--until")
    except CalejoError as error:
        raise ExitError(USAGE, str(error)) from error
    settings = trail_settings(arguments)

    async def work() -> tuple[audit_report.Report, bool]:
        verdict = await verified(settings)
        archived = verdict.archived
        proof = (
            f"{verdict.chain.count - archived} records hold, {verdict.checkpoints_met} checkpoints are met"
        )
        if archived:
            proof += f"; records 1 to {archived} are archived and not in this report"
        if not verdict.holds:
            broken = verdict.chain.broken_at
            proof = "; ".join(
                (
                    "BROKEN",
                    *([f"at record {broken}: {verdict.chain.reason}"] if broken else ()),
                    *verdict.complaints,
                )
            )
        async with opened(settings) as database:
            made = await audit_report.gathered(
                AuditBook(database), arguments.kind, since=since, until=until, made_at=now_utc(), proof=proof
            )
        return made, verdict.holds

    made, holds = waited(work())
    try:
        out.write_bytes(_written(out.suffix, made))
    except OSError as error:
        raise ExitError(FAILED, str(DeviceError(f"{out}: {error.strerror}"))) from error
    told = {"report": made.title, "records": len(made.rows), "file": str(out), "trail_holds": holds}
    show_rows(told, tuple(told), form=arguments.format)
    return DONE if holds else FAILED


def _written(suffix: str, made: object) -> bytes:
    from api.reports import report as audit_report

    assert isinstance(made, audit_report.Report)
    if suffix == ".pdf":
        from api.reports.pdf import as_pdf

        return as_pdf(made)
    return (audit_report.as_html(made) if suffix == ".html" else audit_report.as_csv(made)).encode()
