"""Writes `ops/docs/audit-events.md` and `ops/docs/compliance.md` from tables in code (AUD-2, SEC-6).

`python -m ops.audit_document` makes both anew; a test compares.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from actors.vocabulary.audit_events import EVENT_TYPES, RESERVED, Category

_DOCS: Final = Path(__file__).parent / "docs"


class Control(NamedTuple):
    """One clause: what Calejo has for it, in which code, held by which tests."""

    clause: str
    about: str
    how: str
    code: tuple[str, ...] = ()
    tests: tuple[str, ...] = ()


_AUDIT_CODE: Final = ("storage/audit.py", "actors/vocabulary/audit_events.py")
_AUDIT_TESTS: Final = ("tests/unit/storage/test_audit.py", "tests/unit/actors/test_audit_events.py")
_ATTACKS: Final = ("tests/unit/ops/audit/test_attacks.py", "tests/unit/ops/audit/test_crashes.py")
_LIMITS_CODE: Final = ("actors/limits/proposals.py", "storage/limits.py")
_LIMITS_TESTS: Final = ("tests/unit/actors/limits/test_proposals.py", "tests/unit/api/test_limits.py")
_ACCESS_TESTS: Final = ("tests/unit/api/access/test_attacks.py", "tests/unit/api/access/test_login.py")
_TABLE: Final = ("actors/vocabulary/access.py", "api/access/guarding.py")
_TABLE_TESTS: Final = ("tests/unit/actors/vocabulary/test_access.py", "tests/unit/api/access/test_attacks.py")
_ACCOUNTS: Final = ("api/access/accounts.py", "storage/users.py")
_ACCOUNTS_TESTS: Final = ("tests/unit/api/access/test_login.py", "tests/unit/storage/test_users.py")
_SESSIONS: Final = ("actors/access/sessions.py", "api/access/logins.py", "api/access/desk.py")
_PASSWORDS: Final = ("api/access/hashing.py", "actors/access/passwords.py")
_ORGANISATION: Final = "Not by Calejo: the operator's organisation"

CONTROLS: Final = (
    # ---- IEC 62443-4-2
    Control(
        "CR 1.1",
        "Human user identification",
        "REST, dashboard and command line: names with passwords, an optional second factor; OPC UA: the same names, or"
        " certificates; Modbus knows networks and certificates, not persons",
        ("api/access/desk.py", "api/access/logins.py", "api/access/wire_users.py"),
        (*_ACCESS_TESTS, "tests/wire/opcua/test_security.py"),
    ),
    Control(
        "CR 1.3",
        "Account management",
        "Accounts are made, disabled and given a role by an administrator, never deleted",
        _ACCOUNTS,
        _ACCOUNTS_TESTS,
    ),
    Control(
        "CR 1.4",
        "Identifier management",
        "A name is given once, never changed, never given again: the database refuses it",
        ("actors/vocabulary/users.py", "storage/users.py"),
        ("tests/unit/storage/test_users.py",),
    ),
    Control(
        "CR 1.5",
        "Authenticator management",
        "First passwords are generated and changed at once; hashes only; keys are shown once, scoped, revoked",
        (*_ACCOUNTS, "api/access/hashing.py", "storage/keyring.py"),
        (*_ACCOUNTS_TESTS, "tests/unit/storage/test_keyring.py"),
    ),
    Control(
        "CR 1.7",
        "Strength of passwords",
        "12 to 128 characters, judged by guesses; argon2id",
        _PASSWORDS,
        ("tests/unit/api/access/test_login.py", "tests/unit/actors/access/test_law.py"),
    ),
    Control(
        "CR 1.8",
        "Public key infrastructure certificates",
        "In part: REST has certificates, made, replaced and watched; clients are not known by theirs there",
        ("ops/certificates.py", "api/tls.py", "api/expiry.py"),
        ("tests/unit/ops/test_certificates.py", "tests/unit/api/test_tls.py"),
    ),
    Control(
        "CR 1.9",
        "Strength of public-key authentication",
        "In part: keys of P-256 and RSA 3072 are made; whoever asks REST is not known by a key pair",
        ("ops/certificates.py",),
        ("tests/unit/ops/test_certificates.py",),
    ),
    Control(
        "CR 1.11",
        "Unsuccessful login attempts",
        "Back-off for each account and address, longer each time, audited; in memory: a restart forgets it",
        ("actors/access/backoff.py", "api/access/logins.py"),
        ("tests/unit/actors/access/test_law.py", "tests/unit/api/access/test_login.py"),
    ),
    Control(
        "CR 2.1",
        "Authorization enforcement",
        "One permission table; each REST route names its operation; one guard for wire writes; limits take two persons",
        (*_TABLE, "actors/publisher/refusals.py", *_LIMITS_CODE),
        (*_TABLE_TESTS, "tests/unit/actors/publisher/test_actor.py", *_LIMITS_TESTS),
    ),
    Control(
        "CR 2.6",
        "Remote session termination",
        "Sessions end when idle, after their longest time, by their user, by an administrator",
        _SESSIONS,
        _ACCESS_TESTS,
    ),
    Control(
        "CR 2.7",
        "Concurrent session control",
        "20 sessions of a user: one more ends the oldest",
        ("actors/access/sessions.py", "storage/users.py"),
        _ACCOUNTS_TESTS,
    ),
    Control(
        "CR 2.8",
        "Auditable events",
        "The event types of audit-events.md, one record each, in one chain",
        _AUDIT_CODE,
        _AUDIT_TESTS,
    ),
    Control(
        "CR 2.9",
        "Audit storage capacity",
        "The queue on disk is bounded and alarmed, free space is watched, records never leave but by archive",
        ("actors/storage/guarding.py", "storage/spool.py", "storage/audit_archive.py"),
        ("tests/unit/actors/storage/test_guarding.py", "tests/unit/ops/audit/test_keeping.py"),
    ),
    Control(
        "CR 2.10",
        "Response to audit processing failures",
        "Alarms; records wait on disk and are chained later; no safety action is refused for it",
        ("actors/storage/draining.py", "actors/storage/guarding.py", "actors/outbox.py"),
        ("tests/unit/actors/storage/test_storage_actor.py", "tests/unit/ops/audit/test_crashes.py"),
    ),
    Control(
        "CR 2.11",
        "Timestamps",
        "UTC with microseconds in each record, signed time in each checkpoint; clock synchronisation is the machine's",
        _AUDIT_CODE,
        ("tests/unit/storage/test_audit.py",),
    ),
    Control(
        "CR 2.12",
        "Non-repudiation",
        "Actor and address in a chain that nobody changes unseen; as strong as what names the actor",
        ("storage/audit.py", "storage/checkpoints.py"),
        _ATTACKS,
    ),
    Control(
        "CR 3.5",
        "Input validation",
        "Wire writes, REST bodies, settings and rows of the database are checked; what is refused is recorded",
        ("api/handling.py", "storage/validation.py", "ops/settings_relations.py"),
        ("tests/unit/api/test_routes.py", "tests/unit/ops/test_settings.py"),
    ),
    Control(
        "CR 3.6",
        "Deterministic output",
        "Failsafe, leases and hand-back to the station's own controller",
        ("actors/safety/kernel.py", "actors/safety/failsafe.py"),
        ("tests/unit/actors/safety/test_kernel.py", "tests/unit/actors/safety/test_failsafe.py"),
    ),
    Control(
        "CR 3.9",
        "Protection of audit information",
        "Append-only by triggers and rights, hash chain, signed checkpoints kept elsewhere",
        ("storage/audit.py", "storage/checkpoints.py", "storage/migrations/versions/0008_audit_trail.py"),
        (*_ATTACKS, "tests/unit/storage/test_checkpoints.py"),
    ),
    Control(
        "CR 4.3",
        "Use of cryptography",
        "SHA-256 and Ed25519 for the trail; each key is signed by the one before",
        ("storage/audit_keys.py", "storage/checkpoints.py"),
        ("tests/unit/storage/test_checkpoints.py",),
    ),
    Control(
        "CR 6.1",
        "Audit log accessibility",
        "Search, reports and export by command and REST, read-only",
        ("storage/audit_reader.py", "api/audit_routes.py", "api/report_routes.py"),
        ("tests/unit/api/test_audit.py", "tests/unit/ops/audit/test_keeping.py"),
    ),
    Control(
        "CR 6.2",
        "Continuous monitoring",
        "The trail is verified as it grows; alarms and metrics",
        ("storage/checkpoints.py", "actors/storage/guarding.py"),
        ("tests/unit/storage/test_checkpoints.py", "tests/unit/actors/storage/test_guarding.py"),
    ),
    Control(
        "CR 7.1",
        "Denial of service protection",
        "In part: bounded mailboxes, bodies, connections, records per client; rates of logins and unknown keys",
        (
            "api/guard.py",
            "api/server.py",
            "actors/publisher/refusals.py",
            "api/noting.py",
            "api/access/programs.py",
        ),
        ("tests/unit/api/test_server.py", "tests/unit/api/test_audit.py", *_ACCESS_TESTS),
    ),
    Control(
        "CR 7.4",
        "Recovery and reconstitution",
        "Supervisors restart what dies; state is durable in files and read back",
        ("supervisors/restart.py", "storage/latches.py"),
        ("tests/unit/supervisors/test_restart.py", "tests/unit/ops/audit/test_run_records.py"),
    ),
    Control(
        "CR 7.6",
        "Network and security configuration settings",
        "Settings are typed and checked; a run that begins with others says which",
        ("ops/settings.py", "ops/run_records.py", "actors/discovery/changes.py"),
        ("tests/unit/ops/test_settings.py", "tests/unit/ops/audit/test_run_records.py"),
    ),
    # ---- ISO/IEC 27001:2022, Annex A
    Control(
        "A.5.3",
        "Segregation of duties",
        "Who proposes limits does not approve them",
        _LIMITS_CODE,
        _LIMITS_TESTS,
    ),
    Control("A.5.16", "Identity management", "Accounts of persons and programs", _ACCOUNTS, _ACCOUNTS_TESTS),
    Control(
        "A.5.17",
        "Authentication information",
        "Passwords as slow hashes, second factors sealed, keys by their hash; never in a log",
        (*_PASSWORDS, "storage/keyring.py"),
        ("tests/unit/api/access/test_login.py", "tests/unit/storage/test_keyring.py"),
    ),
    Control(
        "A.5.18",
        "Access rights",
        "A role for each account; what is taken away counts from the next request on",
        (*_TABLE, "api/access/accounts.py"),
        _TABLE_TESTS,
    ),
    Control(
        "A.5.26",
        "Response to information security incidents",
        "Emergency stop; all that is known of an incident in one folder",
        ("api/stops.py", "ops/cli/incident.py"),
        ("tests/unit/api/test_stops.py", "tests/unit/ops/audit/test_incident.py"),
    ),
    Control(
        "A.5.28",
        "Collection of evidence",
        "Exports that verify without Calejo",
        ("storage/audit_export.py", "ops/verify_audit.py"),
        _ATTACKS,
    ),
    Control(
        "A.8.3",
        "Information access restriction",
        "Roles of people and programs by one table; two database roles with the least rights",
        (*_TABLE, "storage/migrations/versions/0001_roles.postgresql.sql"),
        (*_TABLE_TESTS, "tests/wire/postgresql/test_postgresql.py"),
    ),
    Control(
        "A.8.5",
        "Secure authentication",
        "Short signed tokens over sessions that end; back-off; optional second factor; TLS beyond this machine",
        (*_SESSIONS, "api/access/tokens.py", "api/tls.py"),
        (*_ACCESS_TESTS, "tests/unit/api/test_tls.py"),
    ),
    Control(
        "A.8.9",
        "Configuration management",
        "Changes of settings and topology are recorded with before and after",
        ("ops/run_records.py", "actors/discovery/changes.py"),
        ("tests/unit/ops/audit/test_run_records.py", "tests/unit/actors/discovery/test_discovery_actor.py"),
    ),
    Control("A.8.15", "Logging", "The audit trail", _AUDIT_CODE, (*_AUDIT_TESTS, *_ATTACKS)),
    Control(
        "A.8.16",
        "Monitoring activities",
        "Alarms of the trail, the disk, the database and of every watchdog",
        ("actors/storage/guarding.py", "actors/watchdog/timers.py"),
        ("tests/unit/actors/storage/test_guarding.py", "tests/unit/actors/watchdog/test_timers.py"),
    ),
    Control(
        "A.8.24",
        "Use of cryptography",
        "SHA-256 and Ed25519 for the trail; a key's file is its owner's only; rotation is one command",
        ("storage/audit_keys.py",),
        ("tests/unit/storage/test_checkpoints.py",),
    ),
    Control(
        "A.8.32",
        "Change management",
        "Limits with approval and every version kept; schema upgrades recorded",
        (*_LIMITS_CODE, "ops/cli/config.py"),
        _LIMITS_TESTS,
    ),
    # ---- NIS2
    Control("21.2(a)", "Risk analysis and security policies", _ORGANISATION),
    Control(
        "21.2(b)",
        "Incident handling",
        "The trail, alarms, reports, incident export",
        ("ops/cli/incident.py", "api/reports/report.py"),
        ("tests/unit/ops/audit/test_incident.py", "tests/unit/ops/audit/test_keeping.py"),
    ),
    Control(
        "21.2(c)",
        "Business continuity",
        "Losing Calejo hands pumps back to their stations; what dies is restarted; backups are the operator's",
        ("actors/safety/hand_back.py", "supervisors/restart.py"),
        ("tests/unit/actors/safety/test_hand_back.py", "tests/unit/supervisors/test_restart.py"),
    ),
    Control("21.2(d)", "Supply chain security", _ORGANISATION + "; requirements are pinned with hashes"),
    Control(
        "21.2(e)",
        "Security in acquisition, development and maintenance",
        "Changes need approval and are recorded",
        _LIMITS_CODE,
        _LIMITS_TESTS,
    ),
    Control("21.2(f)", "Assessing effectiveness", _ORGANISATION + "; reports and verification help"),
    Control("21.2(g)", "Cyber hygiene and training", _ORGANISATION),
    Control(
        "21.2(h)",
        "Cryptography",
        "Signed checkpoints; TLS for REST; signed tokens and sealed second factors",
        ("storage/audit_keys.py", "api/tls.py", "storage/keyring.py"),
        ("tests/unit/storage/test_checkpoints.py", "tests/unit/api/test_tls.py"),
    ),
    Control(
        "21.2(i)",
        "Access control, human resources, assets",
        "Access control: accounts, roles, sessions; the rest is the operator's organisation",
        (*_TABLE, *_ACCOUNTS),
        (*_TABLE_TESTS, *_ACCOUNTS_TESTS),
    ),
    Control(
        "21.2(j)",
        "Multi-factor authentication",
        "A second factor by RFC 6238 that each person may set; it is not enforced",
        ("api/access/logins.py", "api/access/accounts.py"),
        ("tests/unit/api/access/test_login.py",),
    ),
    Control(
        "23",
        "Reporting obligations",
        "Incident export with the UTC time of awareness and the times of the three reports",
        ("ops/cli/incident.py", "storage/incidents.py"),
        ("tests/unit/ops/audit/test_incident.py",),
    ),
)

_STANDARDS: Final = (
    ("IEC 62443-4-2:2019, component requirements", "CR "),
    ("ISO/IEC 27001:2022, Annex A", "A."),
    ("Directive (EU) 2022/2555 (NIS2)", "2"),
)


def events() -> str:
    """Return the page of event types."""
    return "\n".join(_events())


def compliance() -> str:
    """Return the page that maps clauses to code and tests."""
    return "\n".join(_compliance())


def _events() -> Iterator[str]:
    yield "# Event types of the audit trail"
    yield ""
    yield "Made from the code by `python -m ops.audit_document`; a test holds the two together. What a record holds"
    yield "beside its type, and how the trail is verified: [audit.md](audit.md). Severity is the usual one; a record"
    yield "with a worse outcome may carry another. Types marked *reserved* are written by nothing yet."
    for category in Category:
        yield ""
        yield f"## {category.value.capitalize()}"
        yield ""
        yield "| event type | meaning | severity | clauses |"
        yield "|---|---|---|---|"
        for name, event in EVENT_TYPES.items():
            if event.category is category:
                mark = " *(reserved)*" if name in RESERVED else ""
                yield f"| `{name}` | {event.meaning}{mark} | {event.severity.value} | {', '.join(event.clauses)} |"
    yield ""


def _compliance() -> Iterator[str]:
    yield "# Mapping to standards"
    yield ""
    yield "Made from the code by `python -m ops.audit_document`; a test holds the two together and checks that"
    yield "every file named here exists. It is a mapping for orientation, no claim of conformity and no"
    yield "certification: whether a clause is met is judged by an assessor, in a plant, with the organisation"
    yield "around it. Clauses that are not listed were not mapped."
    for title, prefix in _STANDARDS:
        yield ""
        yield f"## {title}"
        yield ""
        yield "| clause | about | what Calejo has for it | code | tests | event types |"
        yield "|---|---|---|---|---|---|"
        for control in CONTROLS:
            if control.clause.startswith(prefix):
                used = sum(control.clause in event.clauses for event in EVENT_TYPES.values())
                yield (
                    f"| {control.clause} | {control.about} | {control.how} | {_listed(control.code)}"
                    f" | {_listed(control.tests)} | {used or ''} |"
                )
    yield ""


def _listed(paths: tuple[str, ...]) -> str:
    return ", ".join(f"`{path}`" for path in paths)


def main() -> None:
    """Write both pages."""
    (_DOCS / "audit-events.md").write_text(events(), encoding="utf-8")
    (_DOCS / "compliance.md").write_text(compliance(), encoding="utf-8")


if __name__ == "__main__":
    main()
