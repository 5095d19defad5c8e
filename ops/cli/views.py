"""`calejo tree|explain|alarms|priorities|mode`: what the running system says, as table or JSON."""

from __future__ import annotations

import argparse
import uuid
from typing import Any
from urllib.parse import quote

from ops.cli.client import ask
from ops.cli.exits import DONE, USAGE, ExitError
from ops.cli.output import show
from ops.cli.settings_of import data_dir_of


def tree(arguments: argparse.Namespace) -> int:
    """Print every actor, or take one out of quarantine (`--retry`).

    Raises:
        ExitError: as `ops.cli.client.ask`.

    """
    data_dir = data_dir_of(arguments)
    if arguments.retry is not None:
        ask(data_dir, "POST", "/api/v1/tree/retry", body={"address": arguments.retry})
    rows = ask(data_dir, "GET", "/api/v1/tree")
    columns = (
        "address",
        "role",
        "kind",
        "state",
        "pid",
        "restarts",
        "mailbox_depth",
        "rss_mib",
        "birth",
        "last_error",
    )
    show(rows, columns, form=arguments.format)
    return DONE


def alarms(arguments: argparse.Namespace) -> int:
    """Print alarms raised and returned.

    Raises:
        ExitError: as `ops.cli.client.ask`.

    """
    rows = ask(data_dir_of(arguments), "GET", "/api/v1/alarms")
    columns = (
        "raised_at", "returned_at", "severity", "state", "acknowledged_by", "condition", "subject", "text",
    )  # fmt: skip
    show(rows, columns, form=arguments.format)
    return DONE


def explain(arguments: argparse.Namespace) -> int:
    """Print the chain from plan row to wire for one pump.

    Raises:
        ExitError: as `ops.cli.client.ask`.

    """
    chain = ask(data_dir_of(arguments), "GET", f"/api/v1/pumps/{quote(arguments.pump, safe='')}/explain")
    if arguments.format == "json":
        show(chain, (), form="json")
        return DONE
    for line in _ladder(chain):
        print(line)
    return DONE


def priorities(arguments: argparse.Namespace) -> int:
    """Print the order of the safety rules of one station, highest first, with the values they work with.

    Raises:
        ExitError: as `ops.cli.client.ask`.

    """
    path = f"/api/v1/stations/{quote(arguments.station, safe='')}/priorities"
    table = ask(data_dir_of(arguments), "GET", path)
    if arguments.format == "json":
        show(table, (), form="json")
        return DONE
    rows = [{**row, "SAF-2": row["number"], "values": _values(row)} for row in table["rows"]]
    show(rows, ("rank", "SAF-2", "rule", "decided", "effect", "values"), form="table")
    if table["swapped"]:
        print("This station has rule 4 above rule 3: a high level outranks dry run.")
    if table["never_driven"]:
        print(f"Never driven, for want of approved and valid limits: {', '.join(table['never_driven'])}")
    return DONE


def _values(row: dict[str, Any]) -> str:
    """Tell a rule's values; pumps that have the same share a word."""
    told = [_told(row["station"])] if row["station"] else []
    alike: dict[str, list[str]] = {}
    for pump_id, values in row["pumps"].items():
        alike.setdefault(_told(values), []).append(pump_id)
    told += [f"{' '.join(pumps)}: {text}" for text, pumps in alike.items()]
    return "; ".join(told) or "-"


def _told(values: dict[str, Any]) -> str:
    shown = (f"{name} {'not set' if value is None else _plain(value)}" for name, value in values.items())
    return ", ".join(shown)


def _plain(value: float | str) -> str:
    match value:
        case bool():
            return "yes" if value else "no"
        case float():
            return f"{value:g}"
        case _:
            return str(value)


def _ladder(chain: dict[str, Any]) -> list[str]:
    """Tell the chain from plan row to readback as lines for an operator."""
    decision, proposal = chain["decision"], chain["proposal"]
    lines = [f"pump {chain['pump_id']} of station {chain['station_id']}, mode {chain['mode']}"]
    plan = chain["plan"]
    silent = chain["unavailable"]
    unheard = any(each.startswith("pump:") for each in silent)
    lines.append(
        f"plan        {'not known, the pump does not answer' if unheard else 'none covers now'}"
        if plan is None
        else f"plan        {plan['plan_id']} version {plan['plan_version']}: {_figures(plan)}"
        f" from {plan['interval_start']} to {plan['interval_end']}",
    )
    if proposal is not None:
        wish = f"{proposal['calculator']} wishes {_hz(proposal['wish_hz'])} {proposal['note']}"
        lines.append(f"calculator  {wish}".rstrip())
        lines += [f"  input     {name}: {_judged(value)}" for name, value in proposal["inputs"].items()]
    if decision is None:
        unheard = any(each.startswith("safety:") for each in silent)
        why = "safety does not answer" if unheard else chain["waiting_for"] or "not started"
        lines.append(f"safety      no decision: {why}")
    else:
        lines += _decided(decision)
    for shown in chain["published"]:
        lines.append(
            f"wire        {shown['endpoint']}: {_hz(shown['setpoint_hz'])}, enabled {shown['remote_enabled']},"
            f" {shown['quality']}, {shown['reason']}, sequence {shown['sequence']}, accepted {shown['accepted_at']}",
        )
        lines.append(f"readback    echo {_hz(shown['echo_hz'])}, measured {_hz(shown['measured_hz'])}")
    return lines + [f"silent      {each}" for each in silent]


def _decided(decision: dict[str, Any]) -> list[str]:
    lines = [
        f"  rule      {step['rule']}: {_hz(step['before_hz'])} -> {_hz(step['after_hz'])}  {step['why']}"
        for step in decision["trail"]
    ]
    claim = "remote enabled" if decision["remote_enabled"] else "nothing claimed"
    lines.append(
        f"safety      {_hz(decision['setpoint_hz'])}, {claim}, {decision['quality']}, because {decision['reason']}"
        f" (limits version {decision['limits_version']}, epoch {decision['epoch']}, sequence {decision['sequence']})",
    )
    if decision["failsafe_reason"] is not None:
        lines.append(f"failsafe    {decision['failsafe_reason']} since {decision['failsafe_since']}")
    if decision["not_following_since"] is not None:
        lines.append(
            f"following   NOT_FOLLOWING since {decision['not_following_since']}: told and measured differ"
        )
    return lines


def _figures(plan: dict[str, Any]) -> str:
    units = {
        "suggested_speed_hz": "Hz",
        "target_level_m": "m",
        "target_power_kw": "kW",
        "target_flow_m3h": "m3/h",
    }
    return ", ".join(f"{plan[key]:g} {unit}" for key, unit in units.items() if plan.get(key) is not None)


def _judged(value: dict[str, Any]) -> str:
    age = "" if value["age_s"] is None else f", {value['age_s']:.1f} s old"
    return f"{_number(value['value'])} {value['quality']}{age} {value['why']}".rstrip()


def _hz(value: float | None) -> str:
    return "nothing" if value is None else f"{value:.2f} Hz"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:g}"


def set_mode(arguments: argparse.Namespace) -> int:
    """Put a pump into AUTO, MANUAL or OUT_OF_SERVICE.

    Raises:
        ExitError: (2) --hz or --for without MANUAL; else as `ops.cli.client.ask`.

    """
    if arguments.hz is not None and arguments.mode != "MANUAL":
        raise ExitError(USAGE, "--hz goes with MANUAL only")
    if arguments.expires_after_s is not None and arguments.mode != "MANUAL":
        raise ExitError(USAGE, "--for goes with MANUAL only")
    body = {
        "mode": arguments.mode,
        "setpoint_hz": arguments.hz,
        "expires_after_s": arguments.expires_after_s,
        "by": arguments.by,
        "reason": arguments.reason,
        "command_id": str(uuid.uuid4()),
    }
    answer = ask(
        data_dir_of(arguments), "POST", f"/api/v1/pumps/{quote(arguments.pump, safe='')}/mode", body=body
    )
    show(answer, ("pump_id", "mode", "manual_hz", "mode_expires_at", "note"), form=arguments.format)
    return DONE
