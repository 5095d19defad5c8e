"""`calejo limits show|propose|approve|reject|withdraw|list|history|diff`: limits with approval (SAF-6)."""

from __future__ import annotations

import argparse
import uuid
from collections.abc import Sequence
from typing import Any, Final
from urllib.parse import quote, urlencode

from ops.cli.client import ask
from ops.cli.exits import DONE, USAGE, ExitError
from ops.cli.output import show as show_rows
from ops.cli.settings_of import data_dir_of

# The database is asked in between, and discovery looked at after it.
_TIMEOUT_S: Final = 15.0
_CHANGE_COLUMNS: Final = ("key", "before", "after", "unit", "direction", "bound")
_PROPOSAL_COLUMNS: Final = (
    "proposal_id", "pump_id", "state", "base_version", "version", "changes", "proposed_by", "closed_by", "expires_at",
)  # fmt: skip


def show(arguments: argparse.Namespace) -> int:
    """Print the limits in force beside the commissioning envelope, and what is proposed.

    Raises:
        ExitError: as `ops.cli.client.ask`.

    """
    limits = ask(data_dir_of(arguments), "GET", _of(arguments.pump), timeout_s=_TIMEOUT_S)
    if arguments.format == "json":
        show_rows(limits, (), form="json")
        return DONE
    print(_headline(limits))
    rows = [row for row in limits["limits"] if row["value"] is not None or row["envelope"] is not None]
    show_rows(rows, ("key", "value", "unit", "envelope", "tighter"), form="table")
    if limits["proposals"]:
        print("\nopen proposals:")
        _show_proposals(limits["proposals"])
    return DONE


def propose(arguments: argparse.Namespace) -> int:
    """Propose a change; without `--base` it rests on what is in force now.

    Raises:
        ExitError: (2) a change is not KEY=VALUE, or the limits would be refused; else as `ops.cli.client.ask`.

    """
    data_dir, path = data_dir_of(arguments), _of(arguments.pump)
    changes = numbers_of(arguments.changes)
    base = arguments.base
    if base is None:
        base = ask(data_dir, "GET", path, timeout_s=_TIMEOUT_S)["version"]
    body = {
        "changes": changes,
        "base_version": base,
        "reason": arguments.reason,
        "by": arguments.by,
        "expires_after_s": arguments.expires_after_s,
        "proposal_id": str(uuid.uuid4()),
    }
    answer = ask(data_dir, "POST", f"{path}/proposals", body=body, timeout_s=_TIMEOUT_S)
    _show_answer(answer, form=arguments.format)
    return DONE


def approve(arguments: argparse.Namespace) -> int:
    """Bring somebody else's proposal into force.

    Raises:
        ExitError: as `ops.cli.client.ask`.

    """
    return _close(arguments, "approve")


def reject(arguments: argparse.Namespace) -> int:
    """Close somebody else's proposal.

    Raises:
        ExitError: as `ops.cli.client.ask`.

    """
    return _close(arguments, "reject")


def withdraw(arguments: argparse.Namespace) -> int:
    """Take one's own proposal back.

    Raises:
        ExitError: as `ops.cli.client.ask`.

    """
    return _close(arguments, "withdraw")


def listing(arguments: argparse.Namespace) -> int:
    """Print proposals, open ones unless `--all` or `--state` says otherwise.

    Raises:
        ExitError: as `ops.cli.client.ask`.

    """
    path = "/api/v1/limit-proposals" if arguments.pump is None else f"{_of(arguments.pump)}/proposals"
    state = arguments.state or ("" if arguments.all else "PROPOSED")
    found = ask(data_dir_of(arguments), "GET", _asking(path, state=state), timeout_s=_TIMEOUT_S)
    if arguments.format == "json":
        show_rows(found, (), form="json")
    else:
        _show_proposals(found)
    return DONE


def history(arguments: argparse.Namespace) -> int:
    """Print what ever stood in the limits table for a pump, the newest first.

    Raises:
        ExitError: as `ops.cli.client.ask`.

    """
    found = ask(data_dir_of(arguments), "GET", f"{_of(arguments.pump)}/history", timeout_s=_TIMEOUT_S)
    if arguments.before is not None:
        found = [row for row in found if row["history_id"] < arguments.before]
    if arguments.format == "json":
        show_rows(found, (), form="json")
        return DONE
    rows = [{**row, "limits": _short(row["limits"])} for row in found]
    columns = (
        "history_id",
        "version",
        "operation",
        "recorded_at",
        "set_by",
        "approved_by",
        "approved_at",
        "limits",
    )
    show_rows(rows, columns, form="table")
    return DONE


def diff(arguments: argparse.Namespace) -> int:
    """Print what a proposal changes, or what differs between two versions (the second: in force if absent).

    Raises:
        ExitError: (2) it is neither a version nor a proposal; else as `ops.cli.client.ask`.

    """
    path = _of(arguments.pump)
    if arguments.what.isdecimal():
        if arguments.after is not None and not arguments.after.isdecimal():
            raise ExitError(USAGE, f"{arguments.after!r}: expected a version's number")
        path = _asking(f"{path}/diff", before=arguments.what, after=arguments.after)
        changes = "changes"
    else:
        path, changes = f"{path}/proposals/{quote(arguments.what, safe='')}", "diff"
    found = ask(data_dir_of(arguments), "GET", path, timeout_s=_TIMEOUT_S)
    show_rows(
        found[changes] if arguments.format == "table" else found, _CHANGE_COLUMNS, form=arguments.format
    )
    return DONE


def numbers_of(words: Sequence[str]) -> dict[str, float]:
    """Read `KEY=VALUE` words.

    Raises:
        ExitError: (2) one is not, or a key is given twice.

    """
    found: dict[str, float] = {}
    for word in words:
        key, equals, value = word.partition("=")
        try:
            number = float(value)
        except ValueError:
            number = float("nan")
        # JSON has no word for the others, and no limit either.
        if not key or not equals or not abs(number) < float("inf"):
            raise ExitError(USAGE, f"{word!r}: expected KEY=NUMBER, such as hard_max_speed_hz=45")
        if key in found:
            raise ExitError(USAGE, f"{key}: given twice")
        found[key] = number
    return found


def _close(arguments: argparse.Namespace, verb: str) -> int:
    path = f"{_of(arguments.pump)}/proposals/{quote(arguments.proposal, safe='')}/{verb}"
    body = {"by": arguments.by, "reason": arguments.reason}
    answer = ask(data_dir_of(arguments), "POST", path, body=body, timeout_s=_TIMEOUT_S)
    _show_answer(answer, form=arguments.format)
    return DONE


def _show_answer(answer: dict[str, Any], *, form: str) -> None:
    if form == "json":
        show_rows(answer, (), form="json")
        return
    proposal = answer["proposal"]
    line = f"proposal {proposal['proposal_id']} of pump {proposal['pump_id']}: {proposal['state']}"
    match proposal["state"]:
        case "PROPOSED":
            line += f" by {proposal['proposed_by']}, waits for a second person until {proposal['expires_at']}"
        case "APPROVED":
            line += (
                f" as version {proposal['version']}, {'in force' if answer['in_force'] else answer['note']}"
            )
        case _:
            line += f" by {proposal['closed_by']}: {proposal['close_reason']}"
    print(line)
    show_rows(answer["diff"], _CHANGE_COLUMNS, form="table")


def _show_proposals(proposals: Sequence[dict[str, Any]]) -> None:
    rows = [{**row, "changes": _short(row["changes"])} for row in proposals]
    show_rows(rows, _PROPOSAL_COLUMNS, form="table")


def _headline(limits: dict[str, Any]) -> str:
    if limits["version"] == 0:
        line = f"pump {limits['pump_id']}: no limits in force, it is never driven"
    else:
        line = (
            f"pump {limits['pump_id']}: version {limits['version']}, set by {limits['set_by']},"
            f" approved by {limits['approved_by']}"
        )
        applied = limits["applied_version"]
        if applied != limits["version"]:
            line += f" (control works with {'none known' if applied is None else f'version {applied}'})"
    if limits["commissioned_by"] is None:
        return f"{line}; not commissioned: it has no envelope"
    return f"{line}; commissioned by {limits['commissioned_by']} at {limits['commissioned_at']}"


def _short(values: dict[str, float | None]) -> str:
    return " ".join(f"{name}={value:g}" for name, value in values.items() if value is not None)


def _of(pump: str) -> str:
    return f"/api/v1/limits/{quote(pump, safe='')}"


def _asking(path: str, **parameters: object) -> str:
    given = {name: value for name, value in parameters.items() if value not in {None, ""}}
    return f"{path}?{urlencode(given)}" if given else path
