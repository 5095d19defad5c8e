"""What somebody does when the trail or an alarm tells of an incident, and by when who is told (SEC-6, NIS2 article 23).

A row begins with what is seen: types of audit records, conditions of alarms. A test holds each name and each command to
the code, and that every type of record that is usually HIGH or CRITICAL is in a row or among what is ordinary work.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from actors.vocabulary.access import UserRole


class Step(NamedTuple):
    """Something to do, and the command for it; words in capitals are filled in."""

    what: str
    command: str = ""


class Response(NamedTuple):
    """One kind of incident: what tells of it, who acts, in which order, and whether it may have to be reported."""

    title: str
    events: tuple[str, ...]
    alarms: tuple[str, ...]
    who: UserRole
    steps: tuple[Step, ...]
    reported: str


_EVIDENCE: Final = Step(
    "keep what is known, with the time at which you knew",
    "calejo incident export FOLDER --since TIME --aware TIME --note TEXT",
)
_VERIFY: Final = Step(
    "is what the trail says whole?", "calejo audit verify --checkpoint FILE --keys FILE --segments FOLDER"
)
_MAY_BE: Final = "yes, where it was done on purpose or water was affected: assume so until it is known"

RESPONSES: Final = (
    Response(
        "The audit trail was changed",
        ("AUDIT_CHAIN_BROKEN",),
        ("audit_chain_broken",),
        UserRole.ADMINISTRATOR,
        (
            Step("do not repair anything: the database and `<data-dir>/audit` are evidence; copy both"),
            _VERIFY,
            Step("what an outsider can judge", "calejo audit export FILE.tar.gz"),
            _EVIDENCE,
            Step(
                "who could write the database or the machine: take those logins away, then look at what they did"
            ),
        ),
        "yes: somebody had the machine or the database",
    ),
    Response(
        "The trail is not signed, not kept elsewhere, or the disk refuses",
        (),
        ("audit_not_signed", "audit_not_kept_elsewhere", "storage_nearly_full", "spool_failed"),
        UserRole.ADMINISTRATOR,
        (
            Step("share, disk and key: mount, make room, bring `signing.pem` back from its backup"),
            Step("sign by hand when it works again", "calejo audit checkpoint"),
        ),
        "no, unless somebody did it: then as above",
    ),
    Response(
        "An account is under attack or was taken over",
        ("ACCOUNT_LOCKED", "SECOND_FACTOR_REMOVED", "STOP_BY_EXPIRED_SESSION", "USER_PASSWORD_RESET"),
        (),
        UserRole.ADMINISTRATOR,
        (
            Step("what it did, and from where", "calejo audit search --actor NAME"),
            Step("end its sessions, at once", "calejo users sessions NAME --end"),
            Step("close it; it is opened again by `enable`", "calejo users disable NAME"),
            Step("a program's key", "calejo users keys NAME --revoke ID"),
            Step("its limits, modes and stops: take back what it changed", "calejo limits history PUMP"),
            _EVIDENCE,
        ),
        _MAY_BE,
    ),
    Response(
        "Rights appeared that nobody ordered",
        (
            "USER_ADDED",
            "USER_ROLE_SET",
            "USER_ENABLED",
            "USER_DISABLED",
            "SERVICE_KEY_ADDED",
            "TRUST_CHANGED",
        ),
        (),
        UserRole.ADMINISTRATOR,
        (
            Step("who did it, from where", "calejo audit search --type USER_ROLE_SET --since TIME"),
            Step("close the account that did it, and the one that was made", "calejo users disable NAME"),
            Step("whom OPC UA trusts", "calejo certs list"),
            Step("all log in again", "calejo users rotate-signing-key --at-once"),
            _EVIDENCE,
        ),
        "yes, if nobody of the organisation ordered it",
    ),
    Response(
        "Strangers or damaged clients on the wires",
        (
            "CERTIFICATE_REJECTED",
            "CLIENT_REFUSED",
            "ACCESS_DENIED",
            "ACCESS_REFUSED",
            "WRITE_REFUSED",
            "RATE_LIMITED",
        ),
        (),
        UserRole.ENGINEER,
        (
            Step("who, how often, since when", "calejo audit search --address ADDRESS"),
            Step("a program that is ours: trust it", "calejo certs trust WHICH"),
            Step(
                "one that is not: distrust it, close its address in the network", "calejo certs reject WHICH"
            ),
            Step("what clients see of the wires", "calejo wire check"),
        ),
        "if a command got through: search for POINTS_WRITTEN and MODE_SET of that address",
    ),
    Response(
        "Limits or an envelope were changed that nobody expected",
        (
            "LIMITS_APPROVED",
            "PUMP_COMMISSIONED",
            "SAFETY_LIMITS_APPLIED",
            "TOPOLOGY_CHANGED",
            "SETTINGS_CHANGED",
        ),
        ("not_commissioned",),
        UserRole.ENGINEER,
        (
            Step(
                "stop the pump where the limit is dangerous",
                "calejo estop set --scope pump --id PUMP --reason TEXT",
            ),
            Step("which version says what, and who approved it", "calejo limits history PUMP"),
            Step(
                "propose the former values; a second person approves",
                "calejo limits propose PUMP KEY=VALUE --reason TEXT",
            ),
            Step("a row that somebody wrote by SQL has no record of an approval: then as for accounts"),
            _EVIDENCE,
        ),
        _MAY_BE,
    ),
    Response(
        "An emergency stop, a pump out of service, or one that could not be set",
        (
            "EMERGENCY_STOP_SET",
            "EMERGENCY_STOP_REFUSED",
            "EMERGENCY_STOP_UNCONFIRMED",
            "EMERGENCY_STOP_CLEARED",
            "EMERGENCY_STOP_CLEAR_REFUSED",
            "EMERGENCY_STOP_CLEAR_UNCONFIRMED",
            "OUT_OF_SERVICE_SET",
            "OUT_OF_SERVICE_CLEARED",
        ),
        ("latch_not_durable", "latch_unreadable", "latches_incomplete"),
        UserRole.OPERATOR,
        (
            Step("what holds", "calejo estop list"),
            Step("do the motors stand?", "calejo estop show ID --wait 30s"),
            Step("levels, and who watches them while pumps stand", "calejo tree"),
            Step("when its reason is gone", "calejo estop clear --stop ID --reason TEXT"),
            _EVIDENCE,
        ),
        "if water was affected, or nobody of the organisation did it",
    ),
    Response(
        "Pumps in failsafe, or nobody in control of them",
        ("FAILSAFE_ENTERED",),
        ("failsafe", "chain_silent", "endpoint_silent", "lease_lapsed", "high_level", "levels_disagree"),
        UserRole.OPERATOR,
        (
            Step("why, step by step", "calejo explain PUMP"),
            Step("what lives and what does not", "calejo tree"),
            Step("the station's own controller runs on its own: watch levels there until it has returned"),
            _EVIDENCE,
        ),
        "if it lasted or water was affected",
    ),
    Response(
        "A process was given up, or a run ended without a word",
        ("CHILD_QUARANTINED", "CALEJO_ENDED_UNNOTICED"),
        ("child_quarantined",),
        UserRole.ENGINEER,
        (
            Step("which, and since when", "calejo tree"),
            Step("the log of that time in `<data-dir>/logs`, the machine's own log, power and memory"),
            Step("was it somebody?", "calejo audit search --since TIME"),
            Step("bring it back when the cause is gone: `POST /api/v1/tree/retry`, or a restart of the run"),
        ),
        "if control was lost for long, or somebody did it",
    ),
    Response(
        "The database is away or refuses records",
        (),
        ("database_unreachable", "feedback_database_unreachable", "plan_database_unreachable"),
        UserRole.ENGINEER,
        (
            Step(
                "control goes on by the last plans, records wait on disk: how long is there room?",
                "calejo tree",
            ),
            Step(
                "bring it back; an old backup is noticed by the trail: then it is the first of these pages",
                "",
            ),
            _VERIFY,
        ),
        "no, unless plans ran out or somebody did it",
    ),
)

ORDINARY: Final[Mapping[str, str]] = {
    "AUDIT_ARCHIVED": "archiving by the policy; by somebody who was not told to: as for rights that nobody ordered",
    "SIGNING_KEY_ROTATED": "a rotation by the plan; by somebody who was not told to: as for rights that nobody ordered",
    "AUDIT_KEY_ROTATED": "a rotation by the plan; the checkpoints kept elsewhere show from where on the new key"
    " signs",
}
"""What is usually HIGH and no incident when somebody was told to do it."""
