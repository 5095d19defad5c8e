"""Records what REST answers to an example of each operation; `python -m tests.unit.api.examples` writes them anew.

What moves (times, ids, tokens) is written as it was, so that a reader sees what it looks like.
"""

from __future__ import annotations

import json
import tempfile
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from actors.vocabulary import Quality
from actors.vocabulary.access import UserRole
from actors.vocabulary.client_calls import PastValue
from actors.vocabulary.past import PastTable
from api.access.hashing import hash_now
from api.openapi.document import EXAMPLES
from tests.unit.api.people import logged_in, person
from tests.unit.api.served import Served, served

PASSWORD = "a lamp over the weir 1974"
AT = "2026-11-21T10:05:00.000+00:00"
PAST: dict[PastTable, dict[str, Any]] = {
    PastTable.PLANS: {
        "plan_id": 17, "station_id": "s1", "pump_id": "p1", "interval_start": AT, "interval_end": AT,
        "suggested_speed_hz": 38.5, "target_flow_m3h": None, "target_level_m": None, "target_power_kw": None,
        "plan_version": 2, "created_at": AT,
    },
    PastTable.REFUSALS: {
        "refusal_id": 3, "plan_id": 18, "pump_id": "p1", "at": AT,
        "reason": "speed 60 Hz is above the optimiser's 45 Hz", "value": "60.0",
    },
    PastTable.VIOLATIONS: {
        "violation_id": 5, "pump_id": "p1", "at": AT, "limit": "max_power_kw", "proposed": 44.0, "applied": 35.0,
        "detail": "11.0 kW allowed", "suppressed": 0,
    },
    PastTable.FAILSAFES: {
        "event_id": 2, "scope": "PUMP", "scope_id": "p1", "reason": "PLAN_STALE", "started_at": AT,
        "ended_at": None, "detail": "plan coverage ended",
    },
}  # fmt: skip
# What needs a database that the API of the tests has not.
WRITTEN: dict[str, dict[str, Any]] = {
    "GET /api/v1/certificates": {
        "response": {
            "certificates": [
                {
                    "name": "rest", "file": "/var/lib/calejo/certs/rest.pem", "subject": "CN=Calejo rest",
                    "issuer": "CN=Calejo development authority of north-1", "not_before": "2026-11-21T09:50:00+00:00",
                    "not_after": "2027-12-23T10:00:00+00:00", "days_left": 397.0, "sha256": "5f" * 32,
                    "key_file_mode": "0600", "state": "good",
                },
            ],
            "unreadable": {},
        },
    },
    "GET /api/v1/decisions/{pump_id}": {
        "parameters": {"pump_id": "p1", "from": "2026-11-21T09:00:00Z", "to": "2026-11-21T10:00:00Z"},
        "response": [
            {
                "decided_at": "2026-11-21T09:59:12+00:00", "setpoint_hz": 35.0, "remote_enabled": True,
                "reason": "LIMITED", "rules": ["power_cap"], "plan_id": 17, "limits_version": 3,
                "epoch": "0.1800000001", "sequence": 41,
            }
        ],
    },
    "GET /api/v1/audit": {
        "parameters": {"event_type": "EMERGENCY_STOP_SET", "since": "2026-11-21T08:00Z"},
        "response": [
            {
                "sequence": 4711, "at": AT, "event_type": "EMERGENCY_STOP_SET", "actor": "olga",
                "source_address": "192.0.2.7:50112", "object_id": "PUMP:p1", "outcome": "success",
                "severity": "HIGH", "before": None, "after": '{"reason":"leak"}',
                "correlation_id": "0d6a0f4e-4a52-4b4e-8f33-0a2f0f0c7c11",
                "record_id": "0d6a0f4e-4a52-4b4e-8f33-0a2f0f0c7c11:set",
                "previous_hash": "5f" * 32, "hash": "a1" * 32, "clauses": "IEC62443-4-2:CR2.8", "format": 2,
            }
        ],
    },
    "GET /api/v1/audit/verify": {
        "parameters": {"after": 0, "limit": 1000},
    },
    "GET /api/v1/audit/export/records": {"parameters": {"after": 0, "limit": 1000}},
    "GET /api/v1/audit/export/checkpoints": {"parameters": {}},
    "GET /api/v1/audit/export/keys": {"parameters": {}},
    "GET /api/v1/reports/{kind}": {
        "parameters": {"kind": "emergency", "format": "json", "since": "2026-11-21T00:00Z"},
        "response": {
            "title": "Emergency operations",
            "facts": [
                {"name": "Period (UTC)", "value": "2026-11-21 00:00:00 to now"},
                {"name": "State of the trail", "value": "records 1 to 4711 hold, 4 checkpoints are met"},
            ],
            "counts": {"EMERGENCY_STOP_SET": 1},
            "rows": [
                {
                    "sequence": "4711", "at": AT, "severity": "HIGH", "event_type": "EMERGENCY_STOP_SET",
                    "actor": "olga", "source_address": "192.0.2.7:50112", "object_id": "pump:p1",
                    "outcome": "success", "change": 'reason: "leak"',
                    "correlation_id": "0d6a0f4e-4a52-4b4e-8f33-0a2f0f0c7c11", "clauses": "IEC62443-4-2:CR2.8",
                    "hash": "a1" * 32,
                }
            ],
        },
    },
    "GET /api/v1/stream": {
        "parameters": {"topics": "setpoints,stops", "station_id": "s1"},
        "response": 'event: hello\ndata: {"user":"anna","role":"OPERATOR","topics":["setpoints","stops"]}\n\n',
    },
    "POST /api/v1/account/second-factor/confirm": {"request": {"code": "123456"}, "response": {"set": True}},
}  # fmt: skip


def recorded(folder: Path) -> dict[str, dict[str, Any]]:
    """Return an example of every operation."""
    with served(folder) as api:
        for table, row in PAST.items():
            api.past.rows[table] = [row]
        api.points.shown["opcua"] = [
            PastValue(
                value=hz, quality=Quality.GOOD, at=datetime.fromisoformat(AT) - timedelta(seconds=place)
            )
            for place, hz in enumerate((34.5, 35.0, 35.5))
        ]
        now = api.desk.clock.now().utc
        anna = api.token("anna")
        api.users.by_id["olga"] = person("olga", UserRole.OPERATOR, now, password_hash=hash_now(PASSWORD))
        return {**_asked(api, anna), **WRITTEN}


def _asked(api: Served, anna: str) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}

    def ask(
        method: str, template: str, body: Any = None, *, token: str | None = anna, **parameters: Any
    ) -> Any:
        path, query = f"/api/v1{template}", []
        for name, value in parameters.items():
            if f"{{{name}}}" in path:
                path = path.replace(f"{{{name}}}", str(value))
            else:
                query.append(f"{name}={value}")
        answer = api.call(method, path + ("?" + "&".join(query) if query else ""), body, token=token)
        assert answer.status in {200, 201}, (method, path, answer.status, answer.raw)
        response = answer.json()
        one = {"response": response[:2] if isinstance(response, list) else response}
        if parameters:
            one["parameters"] = parameters
        if body is not None:
            one["request"] = body
        found[f"{method} /api/v1{template}"] = one
        return response

    for template in (
        "/alive", "/tree", "/tags", "/stations", "/pumps", "/alarms", "/limit-proposals", "/plans",
        "/plan-refusals", "/violations", "/failsafes", "/users", "/sessions", "/permissions", "/audit/events",
        "/reports", "/account",
    ):  # fmt: skip
        ask("GET", template)
    ask("GET", "/stations/{station_id}", station_id="s1")
    ask("GET", "/stations/{station_id}/priorities", station_id="s1")
    ask("GET", "/pumps/{pump_id}", pump_id="p1")
    ask("GET", "/pumps/{pump_id}/explain", pump_id="p1")
    ask(
        "POST",
        "/pumps/{pump_id}/mode",
        {"mode": "MANUAL", "setpoint_hz": 35.0, "expires_after_s": 900},
        pump_id="p1",
    )
    ask("POST", "/pumps/{pump_id}/clean-out", {"reason": "grease", "lasts_s": 300}, pump_id="p1")
    ask("POST", "/pumps/{pump_id}/clean-out/end", {"reason": "clean"}, pump_id="p1")
    ask("POST", "/alarms/{alarm_id}/acknowledge", {"comment": "sent the van"}, alarm_id="a2")
    ask(
        "GET",
        "/pumps/{pump_id}/history",
        pump_id="p1",
        point="actual_speed",
        **{"from": "2026-11-21T09:00:00Z", "to": "2026-11-21T11:00:00Z"},
    )
    ask("GET", "/configuration")
    found["GET /api/v1/configuration"]["response"]["data_dir"] = "/var/lib/calejo"
    ask("POST", "/tree/retry", {"address": "/sites/north/watchdog"})
    ask("GET", "/discovery")
    ask("POST", "/discovery", {})
    stop = ask(
        "POST", "/emergency-stops", {"scope": "PUMP", "scope_id": "p1", "reason": "leak at the flange"}
    )
    ask("GET", "/emergency-stops", all="true")
    ask("GET", "/emergency-stops/{stop_id}", stop_id=stop["stop_id"])
    ask("POST", "/emergency-stops/clear", {"stop_ids": [stop["stop_id"]], "reason": "flange is tight"})
    _limits(api, ask)
    _people(api, ask)
    return found


def _limits(api: Served, ask: Any) -> None:
    bert = logged_in(api.users, api.desk, "bert", UserRole.ENGINEER)
    ask("GET", "/limits/{pump_id}", pump_id="p1")
    ask("GET", "/limits/{pump_id}/history", pump_id="p1")
    ask("GET", "/limits/{pump_id}/diff", pump_id="p1", before=0)
    template = "/limits/{pump_id}/proposals"
    for verb, token in (("reject", bert), ("withdraw", None), ("approve", bert)):
        body = {"changes": {"hard_max_speed_hz": 45}, "base_version": 3, "reason": "bearing runs warm"}
        made = ask("POST", template, body, pump_id="p1")["proposal"]["proposal_id"]
        ask("GET", template + "/{proposal_id}", pump_id="p1", proposal_id=made)
        closing = {"reason": "reviewed"}
        more = {} if token is None else {"token": token}
        ask("POST", template + "/{proposal_id}/" + verb, closing, pump_id="p1", proposal_id=made, **more)
    ask("GET", template, pump_id="p1", state="APPROVED")


def _people(api: Served, ask: Any) -> None:
    tokens = ask("POST", "/auth/login", {"user": "olga", "password": PASSWORD}, token="")
    again = ask("POST", "/auth/refresh", {"refresh_token": tokens["refresh_token"]}, token="")
    own = again["access_token"]
    ask("GET", "/account/sessions", token=own)
    other = ask("POST", "/auth/login", {"user": "olga", "password": PASSWORD}, token="")
    ids = [each["session_id"] for each in ask("GET", "/account/sessions", token=own) if not each["is_this"]]
    ask("POST", "/account/sessions/{session_id}/end", {}, session_id=ids[0], token=own)
    ask("POST", "/account/second-factor", {"password": PASSWORD}, token=own)
    ask("POST", "/account/second-factor/remove", {"password": PASSWORD}, token=own)
    new = {"current": PASSWORD, "new": "eleven herons, one eel"}
    ask("POST", "/account/password", new, token=own)
    ask("POST", "/auth/logout", {}, token=own)
    del other
    ask("POST", "/users", {"user": "carl", "role": "OPERATOR"})
    ask("GET", "/users/{user_id}", user_id="carl")
    ask("POST", "/users/{user_id}/role", {"role": "READ_ONLY"}, user_id="carl")
    ask("POST", "/users/{user_id}/reset", {}, user_id="carl")
    logged_in(api.users, api.desk, "carl", UserRole.READ_ONLY)
    sessions = ask("GET", "/users/{user_id}/sessions", user_id="carl")
    ask("POST", "/sessions/{session_id}/end", {}, session_id=sessions[0]["session_id"])
    ask("POST", "/users/{user_id}/sessions/end", {}, user_id="carl")
    ask("POST", "/users/{user_id}/disable", {}, user_id="carl")
    ask("POST", "/users/{user_id}/enable", {}, user_id="carl")
    ask("POST", "/users", {"user": "scada", "role": "OPERATOR", "kind": "SERVICE"})
    key = {"label": "control room", "operations": ["READ_POINTS", "SET_STOP"], "days": 365}
    made = ask("POST", "/users/{user_id}/keys", key, user_id="scada")
    ask("GET", "/users/{user_id}/keys", user_id="scada")
    ask("POST", "/service-keys/{key_id}/revoke", {}, key_id=made["key"]["key_id"])


def main() -> None:
    """Write the file."""
    with tempfile.TemporaryDirectory() as folder:
        found = recorded(Path(folder))
    EXAMPLES.write_text(json.dumps(found, indent=1, sort_keys=True, ensure_ascii=False) + "\n", "utf-8")


if __name__ == "__main__":
    main()
