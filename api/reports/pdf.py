"""An audit report as PDF, by ReportLab: A4 across, the heading of the table on every page, pages numbered (AUD-3)."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any, Final
from xml.sax.saxutils import escape

from reportlab.lib import colors
from reportlab.lib.pagesizes import A4, landscape
from reportlab.lib.styles import getSampleStyleSheet
from reportlab.lib.units import mm
from reportlab.platypus import LongTable, Paragraph, SimpleDocTemplate, Spacer, TableStyle

from api.reports.report import SHOWN, Report

_WIDTHS_MM: Final = (15, 37, 18, 38, 25, 28, 32, 32, 48)
_CELL_MAX: Final = 600
"""Characters in one cell: a cell cannot be longer than a page, and the CSV has all of it."""
assert len(_WIDTHS_MM) == len(SHOWN)


def as_pdf(report: Report) -> bytes:
    """Return the report as one PDF document; the same report gives the same bytes."""
    styles = getSampleStyleSheet()
    small = styles["BodyText"].clone("small", fontSize=7, leading=8.5, wordWrap="CJK")

    def cell(text: str) -> Any:
        shown = text if len(text) <= _CELL_MAX else f"{text[:_CELL_MAX]} …"
        return Paragraph(escape(_printable(shown)), small)

    story: list[Any] = [Paragraph(escape(f"Audit report: {report.title}"), styles["Title"])]
    story += [
        Paragraph(f"<b>{escape(name)}:</b> {escape(_printable(value))}", styles["BodyText"])
        for name, value in report.facts
    ]
    story.append(Spacer(1, 4 * mm))
    if report.counts:
        counts = [
            [cell("event type"), cell("records")],
            *([cell(name), cell(str(n))] for name, n in report.counts),
        ]
        story += [_table(counts, (60, 20)), Spacer(1, 4 * mm)]
    head = [cell(name.replace("_", " ")) for name in SHOWN]
    story.append(_table([head, *([cell(row[name]) for name in SHOWN] for row in report.rows)], _WIDTHS_MM))
    out = io.BytesIO()
    document = SimpleDocTemplate(
        out,
        pagesize=landscape(A4),
        leftMargin=12 * mm,
        rightMargin=12 * mm,
        topMargin=12 * mm,
        bottomMargin=15 * mm,
        title=f"Calejo audit report: {report.title}",
        invariant=1,
    )
    document.build(story, onFirstPage=_numbered, onLaterPages=_numbered)
    return out.getvalue()


def _table(rows: list[list[Any]], widths_mm: Sequence[int]) -> Any:
    table = LongTable(rows, colWidths=[width * mm for width in widths_mm], repeatRows=1)
    table.hAlign = "LEFT"
    table.setStyle(
        TableStyle(
            [
                ("GRID", (0, 0), (-1, -1), 0.3, colors.grey),
                ("BACKGROUND", (0, 0), (-1, 0), colors.whitesmoke),
                ("VALIGN", (0, 0), (-1, -1), "TOP"),
                ("TOPPADDING", (0, 0), (-1, -1), 1),
                ("BOTTOMPADDING", (0, 0), (-1, -1), 1),
            ]
        )
    )
    return table


def _numbered(canvas: Any, document: Any) -> None:
    canvas.setFont("Helvetica", 7)
    canvas.drawRightString(landscape(A4)[0] - 12 * mm, 8 * mm, f"page {document.page}")


def _printable(text: str) -> str:
    """Return what the built-in fonts can draw: beyond Latin-1 a character is named by its code."""
    drawn = text.replace("→", "->").replace("…", "...")
    return "".join(each if " " <= each <= "ÿ" else f"\\u{ord(each):04x}" for each in drawn)
