"""The command line of the audit trail: `calejo audit`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]  # noqa: SLF001  (its only name)

REPORTS = ("access", "changes", "emergency", "failed-logins", "limits")


def add_audit(
    commands: Commands, common: argparse.ArgumentParser, data: argparse.ArgumentParser, *, user: str
) -> None:
    """Add the trail's commands; they read the database themselves, so that Calejo need not run."""
    verbs = commands.add_parser(
        "audit", help="the audit trail: verify, search, report, export, archive"
    ).add_subparsers(required=True)

    def verb(name: str, function: str, text: str) -> argparse.ArgumentParser:
        parser = verbs.add_parser(name, parents=[common, data], help=text)
        parser.set_defaults(command=f"ops.cli.{function}")
        return parser

    verify = verb("verify", "audit:verify", "does the chain hold? exit 1 names the first broken record")
    verify.add_argument(
        "--checkpoint", type=Path, default=None, metavar="FILE", help="checkpoints kept elsewhere, as well"
    )
    verify.add_argument(
        "--keys", type=Path, default=None, metavar="FILE", help="public keys kept elsewhere, instead of ours"
    )
    _add_segments(verify)

    export = verb("export", "audit:export", "what an outsider needs to verify it without Calejo")
    export.add_argument("to", type=Path, metavar="PATH", help="a new folder, or a new file *.tar, *.tar.gz")
    export.add_argument("--after", type=int, default=0, metavar="SEQUENCE", help="only what stands behind it")
    export.add_argument("--until", type=int, default=None, metavar="SEQUENCE", help="up to this record")
    export.add_argument("--by", default=user, help="who exports (default: the user's name)")

    search = verb("search", "audit:search", "records, the newest first")
    search.add_argument("--type", action="append", default=[], metavar="EVENT", dest="event_types")
    search.add_argument("--severity", action="append", default=[], dest="severities")
    search.add_argument("--actor", default="")
    search.add_argument("--address", default="", help="where from; its beginning")
    search.add_argument("--object", default="", help="such as PUMP:p1")
    search.add_argument("--outcome", default="", help="its beginning, such as success or refused")
    search.add_argument("--correlation", default="", metavar="ID")
    search.add_argument("--text", default="", help="anywhere in object, outcome, before or after")
    search.add_argument("--limit", type=int, default=50)
    search.add_argument("--before", type=int, default=None, metavar="SEQUENCE", help="the next page")
    _add_segments(search)
    _add_times(search)

    report = verb("report", "audit_report:report", "a compliance report as HTML, CSV or PDF")
    report.add_argument("kind", choices=REPORTS)
    report.add_argument("--out", type=Path, required=True, metavar="FILE", help="*.html, *.csv or *.pdf")
    _add_segments(report)
    _add_times(report)

    signing = verb("checkpoint", "audit_keeping:checkpoint", "sign what the chain has come to, and print it")
    signing.add_argument("--out", type=Path, default=None, metavar="FILE", help="append it there as well")
    rotating = verb("rotate-key", "audit_keeping:rotate_key", "sign with a new key, which the old one signs")
    rotating.add_argument("--by", default=user, help="who does it (default: the user's name)")

    archive = verb("archive", "audit_keeping:archive", "move old records into a verifiable segment")
    archive.add_argument("--to", type=Path, required=True, metavar="FOLDER", help="where segments are kept")
    archive.add_argument(
        "--days", type=int, default=None, help="older than this (default: audit.retention_days)"
    )
    archive.add_argument(
        "--delete", action="store_true", help="take them out of the database; needs its owner's login"
    )
    archive.add_argument("--by", default=user, help="who archives (default: the user's name)")


def add_incident(
    commands: Commands, common: argparse.ArgumentParser, data: argparse.ArgumentParser, *, user: str
) -> None:
    """Add what exports an incident."""
    verbs = commands.add_parser("incident", help="all that is known of an incident").add_subparsers(
        required=True
    )
    export = verbs.add_parser(
        "export", parents=[common, data], help="everything of a time range, in a folder"
    )
    export.set_defaults(command="ops.cli.incident:export")
    export.add_argument("to", type=Path, metavar="FOLDER")
    export.add_argument(
        "--since", required=True, metavar="TIME", help="ISO 8601, UTC unless it says otherwise"
    )
    export.add_argument("--until", default=None, metavar="TIME", help="default: now")
    export.add_argument("--aware", default=None, metavar="TIME", help="when it was noticed (default: now)")
    export.add_argument("--note", default="")
    _add_segments(export)
    export.add_argument("--by", default=user, help="who exports (default: the user's name)")


def _add_segments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--segments",
        type=Path,
        action="append",
        default=[],
        metavar="FOLDER",
        help="where archived segments lie; may be given again",
    )


def _add_times(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--since", default=None, metavar="TIME", help="ISO 8601, UTC unless it says otherwise"
    )
    parser.add_argument("--until", default=None, metavar="TIME")
