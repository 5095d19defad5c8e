"""What verifying the trail said, in words for a report and as data for an incident (AUD-1, AUD-3)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from storage.audit_reader import Segment, TrailVerdict


def proof(verdict: TrailVerdict) -> str:
    """Return one sentence; whatever is not proved stands in it."""
    chain, archived = verdict.chain, verdict.archived
    said = [f"{chain.count - archived} records hold, {verdict.checkpoints_met} checkpoints are met"]
    if not verdict.holds:
        said = ["BROKEN"]
        if chain.broken_at is not None:
            said.append(f"at record {chain.broken_at}: {chain.reason}")
        said += verdict.complaints
    if archived and not verdict.unseen:
        said.append(f"records 1 to {archived} are archived, and their segments were seen")
    if verdict.unseen:
        said.append(f"NOT PROVED: records 1 to {archived} are archived, {not_seen(verdict.unseen)}")
    return "; ".join(said)


def not_seen(names: Sequence[str]) -> str:
    """Return which segments were not seen, and how they would be."""
    return f"segments not seen: {', '.join(names)} (--segments FOLDER)"


def told(verdict: TrailVerdict, segments: Sequence[Segment]) -> dict[str, Any]:
    """Return the same as data, with the range of each archived segment."""
    chain = verdict.chain
    return {
        "holds": verdict.is_whole,
        "archived": verdict.archived,
        "segments": [
            {
                "name": each.name,
                "first": each.first_sequence,
                "last": each.last_sequence,
                "seen": each.name not in verdict.unseen,
            }
            for each in segments
        ],
        "count": chain.count,
        "head": chain.head,
        "broken_at": chain.broken_at,
        "complaints": [each for each in (chain.reason, *verdict.complaints) if each],
    }
