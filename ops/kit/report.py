"""The report of `wire check`: findings, what they amount to, as table or JSON."""

from __future__ import annotations

import ipaddress
import json
from collections import Counter
from collections.abc import Sequence
from enum import StrEnum, unique

import msgspec

from ops.kit.tags import Tag


@unique
class Verdict(StrEnum):
    """What came of a check; a note is worth reading and no fault."""

    PASS = "pass"  # noqa: S105  (no password)
    NOTE = "note"
    FAIL = "FAIL"


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One check of one subject (a site, a station's unit, a pump)."""

    site: str
    check: str
    subject: str
    verdict: Verdict
    detail: str = ""


class Subject(msgspec.Struct, frozen=True, kw_only=True):
    """What is checked: a site's chosen tags; `whole`: they are all there are."""

    site_id: str
    tags: tuple[Tag, ...]
    whole: bool
    without_plc: bool

    @property
    def pumps(self) -> dict[str, dict[str, Tag]]:
        """The tags of every pump by point, by the pump's path."""
        found: dict[str, dict[str, Tag]] = {}
        for tag in self.tags:
            if tag.pump_id is not None:
                found.setdefault(tag.owner, {})[tag.point] = tag
        return found

    def finding(self, check: str, subject: str, faults: Sequence[str] | str, good: str = "") -> Finding:
        """Return a failure that tells the first fault and counts the others, or a pass that says `good`."""
        told = [faults] if isinstance(faults, str) and faults else list(faults)
        if not told:
            return Finding(site=self.site_id, check=check, subject=subject, verdict=Verdict.PASS, detail=good)
        detail = told[0] + (f" (and {len(told) - 1} more)" if len(told) > 1 else "")
        return Finding(site=self.site_id, check=check, subject=subject, verdict=Verdict.FAIL, detail=detail)

    def note(self, check: str, subject: str, detail: str) -> Finding:
        """Return a note."""
        return Finding(site=self.site_id, check=check, subject=subject, verdict=Verdict.NOTE, detail=detail)


def is_loopback(host: str) -> bool:
    """Say whether only this machine reaches what listens there."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.partition("%")[0]).is_loopback
    except ValueError:
        return False


def failed(findings: Sequence[Finding]) -> bool:
    """Say whether anything failed, or nothing was checked at all."""
    return not findings or any(finding.verdict is Verdict.FAIL for finding in findings)


def show_report(findings: Sequence[Finding], *, form: str) -> None:
    """Print the report."""
    counted = Counter(finding.verdict for finding in findings)
    if form == "json":
        summary = {verdict.name.lower(): counted[verdict] for verdict in Verdict}
        whole = {
            "passed": not failed(findings),
            "summary": summary,
            "findings": msgspec.to_builtins(findings),
        }
        print(json.dumps(whole, indent=2))
        return
    rows = [(finding.verdict.value, finding.check, finding.subject, finding.detail) for finding in findings]
    widths = [max((len(row[at]) for row in rows), default=0) for at in range(3)]
    for row in rows:
        print(
            "  ".join(
                [*(cell.ljust(width) for cell, width in zip(row[:3], widths, strict=True)), row[3]]
            ).rstrip()
        )
    print(f"{counted[Verdict.PASS]} passed, {counted[Verdict.NOTE]} notes, {counted[Verdict.FAIL]} failed")
