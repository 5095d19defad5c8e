"""IEC 62443-4-2:2019: every component requirement, and those for software applications, with what Calejo has (SEC-6).

About: our own short words; the standard's text is the standard's.
"""

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
    PASSWORDS,
    SESSIONS,
    TABLE,
    TABLE_TESTS,
    Control,
)

CONTROLS: Final = (
    Control(
        "CR 1.1",
        "Human user identification",
        "REST, dashboard and command line: names with passwords, an optional second factor; OPC UA: the same"
        " names, or"
        " certificates; Modbus knows networks and certificates, not persons",
        ("api/access/desk.py", "api/access/logins.py", "api/access/wire_users.py"),
        (*ACCESS_TESTS, "tests/wire/opcua/test_security.py"),
    ),
    Control(
        "CR 1.2",
        "Software process and device identification",
        "In part: OPC UA by certificates both ways, Modbus over TLS by certificates, programs by keys, processes"
        " of a run by"
        " Ray's token; plain Modbus by network only",
        ("storage/opcua_pki.py", "api/access/programs.py", "storage/keyring.py"),
        (
            "tests/wire/opcua/test_security.py",
            "tests/wire/modbus/test_tls.py",
            "tests/wire/modbus/test_access.py",
        ),
    ),
    Control(
        "CR 1.3",
        "Account management",
        "Accounts are made, disabled and given a role by an administrator, never deleted",
        ACCOUNTS,
        ACCOUNTS_TESTS,
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
        (*ACCOUNTS, "api/access/hashing.py", "storage/keyring.py"),
        (*ACCOUNTS_TESTS, "tests/unit/storage/test_keyring.py"),
    ),
    Control(
        "CR 1.7",
        "Strength of passwords",
        "12 to 128 characters, judged by guesses; argon2id",
        PASSWORDS,
        ("tests/unit/api/access/test_login.py", "tests/unit/actors/access/test_law.py"),
    ),
    Control(
        "CR 1.8",
        "Public key infrastructure certificates",
        "In part: certificates are made, replaced and watched; OPC UA pins its clients', Modbus over TLS takes an"
        " authority's; REST"
        " knows no client by one",
        ("ops/certificates.py", "api/tls.py", "api/expiry.py", "storage/opcua_pki.py"),
        (
            "tests/unit/ops/test_certificates.py",
            "tests/unit/api/test_tls.py",
            "tests/wire/opcua/test_security.py",
        ),
    ),
    Control(
        "CR 1.9",
        "Strength of public-key authentication",
        "In part: keys of P-256 and RSA 3072 are made, weak and expired certificates of OPC UA's and Modbus's"
        " clients refused; whoever"
        " asks REST is not known by a key pair",
        ("ops/certificates.py", "protocols/opcua/certificates.py", "protocols/modbus/tls.py"),
        (
            "tests/unit/ops/test_certificates.py",
            "tests/wire/opcua/test_security.py",
            "tests/wire/modbus/test_tls.py",
        ),
    ),
    Control(
        "CR 1.10",
        "Authenticator feedback",
        "What is typed is not shown; a wrong name and a wrong password look alike; no answer repeats a secret",
        ("api/access/logins.py", "ops/cli/identity.py"),
        ("tests/unit/api/access/test_login.py",),
    ),
    Control(
        "CR 1.11",
        "Unsuccessful login attempts",
        "Back-off for each account and address, longer each time, audited; kept by the database: a restart"
        " forgets nothing",
        ("actors/access/backoff.py", "api/access/logins.py", "storage/requests.py"),
        ("tests/unit/actors/access/test_law.py", "tests/unit/api/access/test_limits_of_asking.py"),
    ),
    Control(
        "CR 1.12",
        "System use notification",
        "Not: nothing is shown before a login that an operator could word",
    ),
    Control(
        "CR 1.14",
        "Strength of symmetric key-based authentication",
        "Keys of 256 bits sign tokens, readable by their owner only, rotated by a command; service keys are kept"
        " by their hash",
        ("storage/keyring.py", "api/access/tokens.py"),
        ("tests/unit/storage/test_keyring.py", "tests/unit/api/access/test_attacks.py"),
    ),
    Control(
        "CR 2.1",
        "Authorization enforcement",
        "One permission table; each REST route names its operation; one guard for wire writes; limits take two"
        " persons",
        (*TABLE, "actors/publisher/refusals.py", *LIMITS_CODE),
        (*TABLE_TESTS, "tests/unit/actors/publisher/test_actor.py", *LIMITS_TESTS),
    ),
    Control(
        "CR 2.2",
        "Wireless use control",
        "Not by Calejo: it has no radio; what carries its wires is the plant's",
    ),
    Control("CR 2.3", "Portable and mobile devices", "Nothing is asked of a component"),
    Control(
        "SAR 2.4",
        "Mobile code",
        "A page runs our own files only, by its policy; Calejo runs no code that it is sent",
        ("api/dashboard/rendering.py",),
        ("tests/unit/api/dashboard/test_sessions.py", "tests/browser/test_access.py"),
    ),
    Control(
        "CR 2.5",
        "Session lock",
        "In part: an idle session sees nothing any more and has to log in; a stop stays possible",
        ("actors/access/sessions.py", "api/access/desk.py"),
        ("tests/unit/api/dashboard/test_sessions.py", "tests/unit/actors/access/test_law.py"),
    ),
    Control(
        "CR 2.6",
        "Remote session termination",
        "Sessions end when idle, after their longest time, by their user, by an administrator",
        SESSIONS,
        ACCESS_TESTS,
    ),
    Control(
        "CR 2.7",
        "Concurrent session control",
        "20 sessions of a user: one more ends the oldest",
        ("actors/access/sessions.py", "storage/users.py"),
        ACCOUNTS_TESTS,
    ),
    Control(
        "CR 2.8",
        "Auditable events",
        "The event types of audit-events.md, one record each, in one chain",
        AUDIT_CODE,
        AUDIT_TESTS,
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
        "UTC with microseconds in each record, signed time in each checkpoint; clock synchronisation is the"
        " machine's",
        AUDIT_CODE,
        ("tests/unit/storage/test_audit.py",),
    ),
    Control(
        "CR 2.12",
        "Non-repudiation",
        "Actor and address in a chain that nobody changes unseen; as strong as what names the actor",
        ("storage/audit.py", "storage/checkpoints.py"),
        ATTACKS,
    ),
    Control(
        "CR 3.1",
        "Communication integrity",
        "In part: TLS for REST and Modbus, signed OPC UA; plain Modbus has none, and is refused beyond loopback"
        " unless networks"
        " are named",
        ("api/tls.py", "protocols/opcua/policies.py", "ops/modbus_settings.py"),
        ("tests/unit/api/test_tls.py", "tests/wire/opcua/test_security.py", "tests/wire/modbus/test_tls.py"),
    ),
    Control(
        "SAR 3.2",
        "Protection from malicious code",
        "Not by Calejo: the machine's; nothing in it hinders a scanner",
    ),
    Control(
        "CR 3.3",
        "Verification of security functions",
        "In part: the trail verifies as it grows and by command, wires are checked by command at commissioning;"
        " no self-test of"
        " access control in operation",
        ("storage/checkpoints.py", "ops/cli/wire.py"),
        ("tests/unit/storage/test_checkpoints.py", "tests/wire/kit/test_check.py"),
    ),
    Control(
        "CR 3.4",
        "Software and information integrity",
        "In part: requirements are pinned by hash, what is recorded is chained, settings that changed are told;"
        " the program"
        " does not check its own files",
        ("storage/audit.py", "ops/run_records.py"),
        (*ATTACKS, "tests/unit/ops/audit/test_run_records.py"),
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
        "CR 3.7",
        "Error handling",
        "Every error is a problem in a fixed form, without stack, statement or secret",
        ("api/problems.py", "api/handling.py"),
        ("tests/unit/api/test_answering.py", "tests/unit/api/test_server.py"),
    ),
    Control(
        "CR 3.8",
        "Session integrity",
        "Signed tokens over sessions that end with logout; a refresh token counts once, and its second use ends"
        " the session",
        SESSIONS,
        ACCESS_TESTS,
    ),
    Control(
        "CR 3.9",
        "Protection of audit information",
        "Append-only by triggers and rights, hash chain, signed checkpoints kept elsewhere",
        ("storage/audit.py", "storage/checkpoints.py", "storage/migrations/versions/0008_audit_trail.py"),
        (*ATTACKS, "tests/unit/storage/test_checkpoints.py"),
    ),
    Control(
        "CR 4.1",
        "Information confidentiality",
        "In part: TLS for REST and Modbus, encrypted OPC UA, secrets sealed or hashed and in files of their"
        " owner; plain Modbus"
        " and the database's own files and link are the plant's",
        ("api/tls.py", "storage/keyring.py", "storage/files.py"),
        (
            "tests/unit/api/test_tls.py",
            "tests/unit/storage/test_keyring.py",
            "tests/wire/opcua/test_security.py",
        ),
    ),
    Control(
        "CR 4.2",
        "Information persistence",
        "Not: no command erases what Calejo knows when a machine is given away",
    ),
    Control(
        "CR 4.3",
        "Use of cryptography",
        "Trail: SHA-256, Ed25519, each key signed by the one before. Wires: TLS 1.2 and 1.3 with ECDHE and"
        " AES-GCM or ChaCha20,"
        " OPC UA Basic256Sha256 and Aes256_Sha256_RsaPss. Tokens: HS256 alone. Passwords: argon2id. Second"
        " factors: Fernet"
        " (AES-128-CBC with HMAC-SHA-256)",
        (
            "storage/audit_keys.py",
            "api/tls.py",
            "api/access/tokens.py",
            "api/access/hashing.py",
            "storage/keyring.py",
        ),
        ("tests/unit/storage/test_checkpoints.py", "tests/unit/api/test_tls.py", *ACCESS_TESTS),
    ),
    Control(
        "CR 5.1",
        "Network segmentation",
        "Each server has an address and a port of its own and is on loopback until told; health never leaves it",
        ("ops/settings_relations.py", "ops/ports.py"),
        (
            "tests/unit/ops/test_settings.py",
            "tests/unit/ops/test_secrets.py",
            "tests/unit/api/test_server.py",
        ),
    ),
    Control("CR 5.4", "Application partitioning", "Nothing is asked of a component"),
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
        ("tests/unit/api/test_server.py", "tests/unit/api/test_audit.py", *ACCESS_TESTS),
    ),
    Control(
        "CR 7.2",
        "Resource management",
        "Every mailbox, queue, connection and body is bounded; who asks too often waits, a stop never does",
        ("api/access/rates.py", "api/server.py", "storage/spool.py"),
        ("tests/unit/api/access/test_limits_of_asking.py", "tests/wire/modbus/test_bad_clients.py"),
    ),
    Control(
        "CR 7.3",
        "Control system backup",
        "In part: all state is a database and a folder, whose backup is the operator's; no command of its own; an old"
        " backup brought back is noticed by the trail",
        ("storage/checkpoints.py", "storage/files.py"),
        ATTACKS,
    ),
    Control(
        "CR 7.4",
        "Recovery and reconstitution",
        "Supervisors restart what dies; state is durable in files and read back",
        ("supervisors/restart.py", "storage/latches.py"),
        ("tests/unit/supervisors/test_restart.py", "tests/unit/ops/audit/test_run_records.py"),
    ),
    Control("CR 7.5", "Emergency power", "Nothing is asked of a component"),
    Control(
        "CR 7.6",
        "Network and security configuration settings",
        "Settings are typed and checked; a run that begins with others says which",
        ("ops/settings.py", "ops/run_records.py", "actors/discovery/changes.py"),
        ("tests/unit/ops/test_settings.py", "tests/unit/ops/audit/test_run_records.py"),
    ),
    Control(
        "CR 7.7",
        "Least functionality",
        "Sparkplug, OPC UA without security, Modbus beyond loopback and CORS are off until told; two database roles",
        ("ops/settings_relations.py", "storage/migrations/versions/0001_roles.postgresql.sql"),
        ("tests/unit/ops/test_secrets.py", "tests/wire/postgresql/test_postgresql.py"),
    ),
    Control(
        "CR 7.8",
        "Component inventory",
        "In part: `calejo tree` lists processes, `calejo config show` settings, the requirement files every"
        " library with version"
        " and hash; no list in a standard form",
        ("ops/cli/views.py", "ops/cli/config.py"),
        ("tests/unit/ops/test_settings.py",),
    ),
)
