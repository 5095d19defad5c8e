"""ISO/IEC 27001:2022, Annex A, and NIS2: what Calejo has for their clauses (SEC-6)."""

from __future__ import annotations

from typing import Final

from ops.compliance.controls import (
    ACCESS_TESTS,
    ACCOUNTS,
    ACCOUNTS_TESTS,
    ATTACKS,
    AUDIT_CODE,
    AUDIT_TESTS,
    LIMITS_CODE,
    LIMITS_TESTS,
    ORGANISATION,
    PASSWORDS,
    SESSIONS,
    TABLE,
    TABLE_TESTS,
    Control,
)

ISO_27001: Final = (
    Control(
        "A.5.3",
        "Segregation of duties",
        "Who proposes limits does not approve them",
        LIMITS_CODE,
        LIMITS_TESTS,
    ),
    Control("A.5.16", "Identity management", "Accounts of persons and programs", ACCOUNTS, ACCOUNTS_TESTS),
    Control(
        "A.5.17",
        "Authentication information",
        "Passwords as slow hashes, second factors sealed, keys by their hash; never in a log",
        (*PASSWORDS, "storage/keyring.py"),
        ("tests/unit/api/access/test_login.py", "tests/unit/storage/test_keyring.py"),
    ),
    Control(
        "A.5.18",
        "Access rights",
        "A role for each account; what is taken away counts from the next request on",
        (*TABLE, "api/access/accounts.py"),
        TABLE_TESTS,
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
        ATTACKS,
    ),
    Control(
        "A.8.3",
        "Information access restriction",
        "Roles of people and programs by one table; two database roles with the least rights",
        (*TABLE, "storage/migrations/versions/0001_roles.postgresql.sql"),
        (*TABLE_TESTS, "tests/wire/postgresql/test_postgresql.py"),
    ),
    Control(
        "A.8.5",
        "Secure authentication",
        "Short signed tokens over sessions that end; back-off; optional second factor; TLS beyond this machine",
        (*SESSIONS, "api/access/tokens.py", "api/tls.py"),
        (*ACCESS_TESTS, "tests/unit/api/test_tls.py"),
    ),
    Control(
        "A.8.9",
        "Configuration management",
        "Changes of settings and topology are recorded with before and after",
        ("ops/run_records.py", "actors/discovery/changes.py"),
        ("tests/unit/ops/audit/test_run_records.py", "tests/unit/actors/discovery/test_discovery_actor.py"),
    ),
    Control("A.8.15", "Logging", "The audit trail", AUDIT_CODE, (*AUDIT_TESTS, *ATTACKS)),
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
        "SHA-256 and Ed25519 for the trail, TLS and OPC UA security on the wires, HS256 for tokens, argon2id for"
        " passwords; files"
        " of keys are their owner's only, each key is rotated by a command",
        (
            "storage/audit_keys.py",
            "api/tls.py",
            "api/access/tokens.py",
            "api/access/hashing.py",
            "storage/keyring.py",
        ),
        (
            "tests/unit/storage/test_checkpoints.py",
            "tests/unit/api/test_tls.py",
            "tests/unit/storage/test_keyring.py",
        ),
    ),
    Control(
        "A.8.32",
        "Change management",
        "Limits with approval and every version kept; schema upgrades recorded",
        (*LIMITS_CODE, "ops/cli/config.py"),
        LIMITS_TESTS,
    ),
)

NIS2: Final = (
    Control(
        "21.2(a)",
        "Risk analysis and security policies",
        ORGANISATION + "; risk.md is what it can begin with",
    ),
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
    Control("21.2(d)", "Supply chain security", ORGANISATION + "; requirements are pinned with hashes"),
    Control(
        "21.2(e)",
        "Security in acquisition, development and maintenance",
        "Changes need approval and are recorded",
        LIMITS_CODE,
        LIMITS_TESTS,
    ),
    Control("21.2(f)", "Assessing effectiveness", ORGANISATION + "; reports and verification help"),
    Control("21.2(g)", "Cyber hygiene and training", ORGANISATION),
    Control(
        "21.2(h)",
        "Cryptography",
        "Signed checkpoints; TLS for REST and Modbus, OPC UA security; signed tokens and sealed second factors",
        ("storage/audit_keys.py", "api/tls.py", "storage/keyring.py"),
        ("tests/unit/storage/test_checkpoints.py", "tests/unit/api/test_tls.py"),
    ),
    Control(
        "21.2(i)",
        "Access control, human resources, assets",
        "Access control: accounts, roles, sessions; the rest is the operator's organisation",
        (*TABLE, *ACCOUNTS),
        (*TABLE_TESTS, *ACCOUNTS_TESTS),
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
        ("ops/cli/incident.py", "storage/incidents.py", "ops/compliance/response.py"),
        ("tests/unit/ops/audit/test_incident.py",),
    ),
)
