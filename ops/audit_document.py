"""Writes pages of `ops/docs` from tables in code: events, mapping, risk, incidents, ASVS (AUD-2, SEC-6).

`python -m ops.audit_document` makes all of them anew; a test compares.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from actors.access.passwords import CONTEXT
from actors.vocabulary.audit_events import EVENT_TYPES, RESERVED, Category
from ops.cli.incident import due
from ops.compliance import component_requirements, organisation
from ops.compliance.asvs import REQUIREMENTS, SECTIONS, Section
from ops.compliance.response import ORDINARY, RESPONSES, Response
from ops.compliance.risk import RISKS, Asset

_DOCS: Final = Path(__file__).parent / "docs"
_EXAMPLE: Final = datetime(2026, 11, 21, 6, 15, tzinfo=UTC)

STANDARDS: Final = (
    ("IEC 62443-4-2:2019, component requirements", component_requirements.CONTROLS),
    ("ISO/IEC 27001:2022, Annex A", organisation.ISO_27001),
    ("Directive (EU) 2022/2555 (NIS2)", organisation.NIS2),
)
CONTROLS: Final = tuple(control for _, controls in STANDARDS for control in controls)


def events() -> Iterator[str]:
    """Yield the page of event types."""
    yield from _head("Event types of the audit trail")
    yield "What a record holds beside its type, and how the trail is verified: [audit.md](audit.md). Severity is"
    yield "the usual one; a record with a worse outcome may carry another. Types marked *reserved* are written by"
    yield "nothing yet."
    for category in Category:
        yield from _title(category.value.capitalize(), "event type", "meaning", "severity", "clauses")
        for name, event in EVENT_TYPES.items():
            if event.category is category:
                mark = " *(reserved)*" if name in RESERVED else ""
                yield _row(
                    f"`{name}`", f"{event.meaning}{mark}", event.severity.value, ", ".join(event.clauses)
                )
    yield ""


def compliance() -> Iterator[str]:
    """Yield the page that maps clauses to code and tests."""
    yield from _head("Mapping to standards")
    yield "It is a mapping for orientation, no claim of conformity and no certification: whether a clause is met is"
    yield "judged by an assessor, in a plant, with the organisation around it. Of IEC 62443-4-2 every component"
    yield "requirement is listed, and those for software applications (SAR); what it asks of devices, hosts and"
    yield "networks alone is not. Of the others clauses that are not listed were not mapped. Beside it:"
    yield "[risk.md](risk.md), [incident-response.md](incident-response.md), [asvs.md](asvs.md)."
    for title, controls in STANDARDS:
        yield from _title(title, "clause", "about", "what Calejo has for it", "code", "tests", "event types")
        for control in controls:
            used = sum(control.clause in event.clauses for event in EVENT_TYPES.values())
            yield _row(
                control.clause,
                control.about,
                control.how,
                _listed(control.code),
                _listed(control.tests),
                str(used or ""),
            )
    yield ""


def risk() -> Iterator[str]:
    """Yield the risk assessment."""
    yield from _head("Risk assessment")
    yield "Of Calejo as a product: what an operator's own assessment begins with, which knows the plant, its people"
    yield "and what a day without it costs. *Left* is what an attacker or a fault would still need: LOW, more than"
    yield "one thing at once; MEDIUM, one thing that the plant has to see to; HIGH, nothing. Each test fails without"
    yield "the control that it stands beside, or without a part of it."
    for asset in Asset:
        yield from _title(asset.value.capitalize(), "threat", "control", "test", "left", "because")
        for each in RISKS:
            if each.asset is asset:
                yield _row(each.threat, each.control, _listed(each.tests), each.left.value, each.why)
    yield ""


def response() -> Iterator[str]:
    """Yield the page of what to do when something happened."""
    yield from _head("Incident response")
    yield "Who does what, by which command, and by when who is told. Roles are those of"
    yield "[permissions.md](permissions.md); the commands of the trail work without a running Calejo"
    yield "([audit.md](audit.md)). Stop pumps first where they are in danger: `calejo estop set --scope system"
    yield "--reason TEXT` ([emergency-stop.md](emergency-stop.md))."
    yield from _title("The clock", "when", "to CSIRT or authority (NIS2, article 23(4))", "example")
    told = due(_EXAMPLE)
    for when, what, at in (
        ("it is known", "nobody yet: write the time down, it is `--aware`", _EXAMPLE),
        ("24 hours after that", "early warning: was it unlawful, does it cross borders?", told["early_warning"]),
        ("72 hours after it was known", "notification: severity, impact, indicators", told["notification"]),
        ("a month after the notification", "final report: cause, measures, impact", told["final_report"]),
    ):  # fmt: skip
        yield _row(when, what, f"{at:%Y-%m-%d %H:%M} UTC")
    yield ""
    yield "`calejo incident export` prints these times for its `--aware` and writes them into `incident.json`."
    yield "Whether an incident has to be reported, and to whom, is the operator's to decide, with their authority's"
    yield "rules."
    for each in RESPONSES:
        yield from _response(each)
    yield ""
    yield "## No incident by itself"
    yield ""
    for name, why in ORDINARY.items():
        yield f"- `{name}`: {why}."
    yield ""


def _response(each: Response) -> Iterator[str]:
    yield ""
    yield f"## {each.title}"
    yield ""
    if each.events:
        yield f"- Records: {_listed(each.events)}"
    if each.alarms:
        yield f"- Alarms: {_listed(each.alarms)}"
    yield f"- Who: {each.who.value}"
    yield f"- To be reported: {each.reported}"
    yield ""
    for number, step in enumerate(each.steps, 1):
        told = step.what[:1].upper() + step.what[1:]
        mark = "" if told.endswith("?") else ":"
        yield f"{number}. {told}{mark} `{step.command}`" if step.command else f"{number}. {told}."


def asvs() -> Iterator[str]:
    """Yield the page of OWASP's ASVS."""
    met = sum(each.met for each in SECTIONS)
    lacks = sum(len(each.lacks) for each in SECTIONS)
    yield from _head("OWASP ASVS 5.0, levels 1 and 2")
    yield f"Of {REQUIREMENTS} requirements {met} are met in our own judgement, {lacks} are not, and"
    yield f"{REQUIREMENTS - met - lacks} ask for what Calejo has not got. It is about REST and the dashboard; no"
    yield "assessor has looked at it. What the requirements say: <https://github.com/OWASP/ASVS/tree/v5.0.0>."
    yield from _title("By section", "section", "about", "state", "how, and what is not met", "tests")
    for each in SECTIONS:
        missing = "; ".join(
            f"**{each.number[1:]}.{number} not**: {why}" for number, why in each.lacks.items()
        )
        how = ". ".join(part for part in (each.how, missing) if part)
        yield _row(each.number, each.about, _state(each), how, _listed(each.tests))
    yield ""
    yield f"No password is built of these words (6.1.2), or of the user's own name: {', '.join(CONTEXT)}."
    yield ""


def _state(each: Section) -> str:
    asked = each.size - len(each.absent)
    if not asked:
        return "not applicable"
    if not each.lacks:
        return f"met ({each.met})"
    return f"{'in part' if each.met else 'not'} ({each.met} of {asked})"


def _head(title: str) -> Iterator[str]:
    yield f"# {title}"
    yield ""
    yield "Made from the code by `python -m ops.audit_document`; tests hold the two together, and each file and"
    yield "test that is named here exists."
    yield ""


def _title(title: str, *columns: str) -> Iterator[str]:
    yield ""
    yield f"## {title}"
    yield ""
    yield _row(*columns)
    yield "|" + "---|" * len(columns)


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def _listed(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


PAGES: Final[Mapping[str, Callable[[], Iterator[str]]]] = {
    "audit-events.md": events,
    "compliance.md": compliance,
    "risk.md": risk,
    "incident-response.md": response,
    "asvs.md": asvs,
}


def page(name: str) -> str:
    """Return a page as it stands in `ops/docs`."""
    return "\n".join(PAGES[name]())


def main() -> None:
    """Write every page."""
    for name in PAGES:
        (_DOCS / name).write_text(page(name), encoding="utf-8")


if __name__ == "__main__":
    main()
