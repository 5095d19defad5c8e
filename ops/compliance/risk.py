"""The risk assessment of Calejo: assets, what threatens them, what stands against it, what is left (SEC-6).

It is what an operator's own assessment begins with: how likely a threat is and what it costs is the plant's to say.
What is left is rated by what an attacker or a fault would still need: LOW, more than one thing at once; MEDIUM, one
thing that the plant has to see to; HIGH, nothing.
"""

from __future__ import annotations

from enum import StrEnum, unique
from typing import Final, NamedTuple


@unique
class Asset(StrEnum):
    """What is to be protected."""

    PUMPS = "pumps and the water in the wells"
    LIMITS = "safety limits"
    COMMANDS = "stops, modes and setpoints"
    ACCOUNTS = "accounts, sessions and keys"
    TRAIL = "audit trail"
    RECORDS = "plans, feedback and decisions"
    PROCESSES = "the run itself"
    PROGRAM = "the program and its libraries"


@unique
class Left(StrEnum):
    """How much is left."""

    LOW = "LOW"
    MEDIUM = "MEDIUM"
    HIGH = "HIGH"


class Risk(NamedTuple):
    """One way in which an asset comes to harm; `tests` as `file::function`, each would fail without the control."""

    asset: Asset
    threat: str
    control: str
    tests: tuple[str, ...]
    left: Left
    why: str


_ATTACKS: Final = "tests/unit/api/access/test_attacks.py"
_LOGIN: Final = "tests/unit/api/access/test_login.py"
_OPCUA: Final = "tests/wire/opcua/test_security.py"
_MODBUS: Final = "tests/wire/modbus/test_access.py"
_CROWD: Final = "tests/wire/modbus/test_bad_clients.py"
_TRAIL: Final = "tests/unit/ops/audit/test_attacks.py"
_ARCHIVING: Final = "tests/unit/ops/audit/test_archiving.py"
_POSTGRES: Final = "tests/wire/postgresql/test_postgresql.py"

RISKS: Final = (
    Risk(
        Asset.PUMPS,
        "A plan, a client or a fault asks for what harms a pump or overflows a well",
        "Every setpoint passes one kernel with the approved limits, and a last gate in each endpoint",
        (
            "tests/unit/test_bad_input.py::test_plans_by_sql",
            "tests/unit/test_bad_input.py::test_setpoints_to_a_gate",
        ),
        Left.LOW,
        "limits that two persons approved can be wrong for the plant",
    ),
    Risk(
        Asset.PUMPS,
        "Calejo, its machine or its network is gone",
        "Leases lapse and the station's own controller takes over; what dies is restarted",
        (
            "tests/unit/actors/safety/test_hand_back.py::test_lost_feedback_hands_back_and_returns_after_the_hold",
            "tests/unit/supervisors/test_restart.py::test_one_child_killed_again_and_again",
        ),
        Left.MEDIUM,
        "the controller has to be programmed for it: `calejo plc st` writes it, commissioning checks it",
    ),
    Risk(
        Asset.PUMPS,
        "Feedback is forged, old or from another pump",
        "Source, age, plausibility and echo are judged; a level that is not known is a failsafe",
        (
            "tests/unit/test_bad_input.py::test_feedback_by_sql",
            "tests/unit/test_bad_input.py::test_feedback_to_safety",
        ),
        Left.MEDIUM,
        "whoever may write as the pump's controller and stays plausible is believed",
    ),
    Risk(
        Asset.LIMITS,
        "One person, or a program, changes a limit alone",
        "Two logged-in persons; the commissioning envelope bounds; every version is kept by the database",
        (
            f"{_LOGIN}::test_a_service_account_has_keys_within_its_role",
            "tests/unit/ops/cli/test_limits.py::test_a_command_of_this_machine_neither_proposes_nor_approves",
        ),
        Left.MEDIUM,
        "the database's owner can write limits by SQL: it is recorded by triggers, not prevented",
    ),
    Risk(
        Asset.COMMANDS,
        "A stranger on the plant's network commands by Modbus",
        "Clients by network and role, or TLS with the role in the certificate; refusals are counted and told",
        (
            f"{_MODBUS}::test_a_stranger_is_hung_up_on_and_told_of",
            "tests/wire/modbus/test_tls.py::test_wrong_expired_and_omitted_certificates_and_old_tls_get_nothing",
        ),
        Left.HIGH,
        "plain Modbus knows networks only, and is not encrypted: `modbus.tls`, or a network of its own",
    ),
    Risk(
        Asset.COMMANDS,
        "A stranger, or a known program under another's name, commands by OPC UA",
        "Security policies only, pinned certificates, users or keys behind them, one permission table",
        (
            f"{_OPCUA}::test_a_certificate_that_is_not_taken_opens_no_channel",
            f"{_OPCUA}::test_a_session_is_not_taken_over_by_another_program_or_user",
        ),
        Left.LOW,
        "a trusted client's stolen key and password together",
    ),
    Risk(
        Asset.COMMANDS,
        "A page elsewhere has an operator's browser command",
        "SameSite cookie, a proof only our page holds, Origin and content type judged",
        (
            "tests/unit/api/dashboard/test_sessions.py::test_what_another_site_has_a_browser_send_is_refused",
            f"{_ATTACKS}::test_a_page_elsewhere_cannot_post_even_with_a_token",
        ),
        Left.LOW,
        "a browser that is itself in somebody's hands",
    ),
    Risk(
        Asset.COMMANDS,
        "A flood keeps an emergency stop from getting through",
        "A stop is never rate-limited; it goes by command, coil, OPC UA and REST, and is durable before it is told",
        (
            "tests/unit/api/access/test_limits_of_asking.py::test_a_user_who_asks_too_often_waits_and_may_still_stop",
            f"{_CROWD}::test_a_crowd_of_polling_clients_locks_out_neither_a_stop_nor_a_controller",
        ),
        Left.LOW,
        "200 connections from several addresses hold REST's for 20 s; the other ways stay",
    ),
    Risk(
        Asset.COMMANDS,
        "An emergency stop is lost by a crash, a kill or a full disk",
        "A file of its own per stop, durable before it is acknowledged; unreadable counts as a stop of everything",
        (
            "tests/unit/storage/test_latches.py::test_a_damaged_file_counts_as_a_stop_of_everything",
            "tests/unit/storage/test_latches.py::test_what_was_merged_is_there_for_everybody",
        ),
        Left.LOW,
        "disk and database lost together",
    ),
    Risk(
        Asset.ACCOUNTS,
        "Passwords are guessed or come out of leaks",
        "12 characters at least, common ones refused, back-off by account and address, argon2id, second factor",
        (
            f"{_LOGIN}::test_too_many_failures_wait_whatever_comes_then",
            f"{_LOGIN}::test_a_password_that_is_guessed_first_is_refused",
        ),
        Left.MEDIUM,
        "the second factor is each person's choice; no list of leaked passwords is asked",
    ),
    Risk(
        Asset.ACCOUNTS,
        "A token, cookie or key is stolen",
        "Ten minutes, a session behind each token, a refresh token counts once, keys narrow their role and are"
        " revoked",
        (
            f"{_LOGIN}::test_a_refresh_token_that_comes_twice_ends_its_family",
            f"{_ATTACKS}::test_a_disabled_users_token_is_worth_nothing_at_once",
        ),
        Left.LOW,
        "ten minutes of what that role may; an expired one can still stop pumps, and is meant to",
    ),
    Risk(
        Asset.ACCOUNTS,
        "Somebody on the machine reads its files",
        "0600 for their owner, hashes instead of passwords and keys, second factors sealed",
        (
            "tests/unit/storage/test_keyring.py::test_a_ring_is_made_once_and_for_its_owner",
            "tests/unit/storage/test_keyring.py::test_a_file_that_others_may_read_is_refused",
        ),
        Left.MEDIUM,
        "the run's own user and root read everything: `access.signing_keys` from a secret store helps in part",
    ),
    Risk(
        Asset.TRAIL,
        "Records are changed, removed, or the database is rolled back",
        "Hash chain, signed checkpoints kept elsewhere, triggers and rights; proved without Calejo",
        (
            f"{_TRAIL}::test_an_attack_on_the_database_is_found",
            f"{_TRAIL}::test_a_database_replaced_by_another_is_found",
        ),
        Left.MEDIUM,
        "without `audit.checkpoint_dir` on another machine a trail rebuilt whole passes",
    ),
    Risk(
        Asset.TRAIL,
        "Records leave under the name of an archive",
        "The database deletes what a noted segment ends in, a segment is read back first, unseen ones are named",
        (
            f"{_ARCHIVING}::test_a_segment_that_was_only_noted_hides_nothing",
            f"{_ARCHIVING}::test_a_file_that_is_not_the_chain_s_lets_nothing_be_deleted",
        ),
        Left.LOW,
        "segments that are lost are lost: their copies are the operator's",
    ),
    Risk(
        Asset.TRAIL,
        "Records are lost between the author and the database",
        "A bounded queue on disk, written before it is answered and chained later, each record once",
        ("tests/unit/ops/audit/test_crashes.py::test_exactly_once_on_sqlite",),
        Left.LOW,
        "what a sender had not handed over when the machine lost power; never a stop",
    ),
    Risk(
        Asset.RECORDS,
        "The database's login is stolen, or SQL is smuggled in",
        "Two roles with the least rights, statements with parameters only, rows judged when they are read",
        (
            f"{_POSTGRES}::test_the_writer_may_only_append",
            f"{_ATTACKS}::test_sql_in_a_filter_is_a_value_that_nothing_has",
        ),
        Left.MEDIUM,
        "SQLite has no logins: whoever may write its file writes plans and feedback, never past the kernel",
    ),
    Risk(
        Asset.RECORDS,
        "Somebody listens on the network",
        "TLS for REST, encrypted OPC UA, Modbus over TLS; nothing but loopback until told",
        (
            "tests/unit/api/test_tls.py::test_beyond_loopback_only_with_tls_or_a_proxy",
            f"{_OPCUA}::test_what_is_offered_is_safe",
        ),
        Left.MEDIUM,
        "plain Modbus and the link to a database without TLS in its URL are readable",
    ),
    Risk(
        Asset.PROCESSES,
        "A client or a fault takes memory, connections or processor time",
        "Everything is bounded; rates by user and address; bad clients are cut off; supervisors restart and back off",
        (
            f"{_CROWD}::test_500_idle_clients_lock_nobody_out_and_leave_nothing_behind",
            f"{_OPCUA}::test_a_flood_of_handshakes_is_limited_and_untrusted_ones_cost_no_private_key",
        ),
        Left.LOW,
        "a flood that fills the network itself is the network's",
    ),
    Risk(
        Asset.PROCESSES,
        "A process of the machine joins the run or answers in its place",
        "Ray's token authentication, one run to a data directory, loopback",
        ("tests/unit/ops/test_rundir.py::test_a_second_run_is_refused",),
        Left.MEDIUM,
        "that the token keeps strangers out is Ray's, and tested there; between machines its channels are encrypted"
        " only where its TLS is set up",
    ),
    Risk(
        Asset.PROGRAM,
        "A library, or a release on its way, is replaced",
        "Every requirement pinned by hash; vendored scripts compared with the hashes of their releases",
        ("tests/unit/api/dashboard/test_pages.py::test_files_of_others_are_as_released",),
        Left.MEDIUM,
        "releases are not signed, and no list of components in a standard form is made",
    ),
)
