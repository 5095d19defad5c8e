"""OWASP ASVS 5.0, levels 1 and 2 (253 requirements): what REST and the dashboard meet, and what not (SEC-1, SEC-6).

A section says how many requirements of these levels it has, which of them are not met and why, and which ask for what
Calejo has not got. What is left is met, in our own judgement. About: our own short words; the requirements themselves
are OWASP's: <https://github.com/OWASP/ASVS/tree/v5.0.0>.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

REQUIREMENTS: Final = 253
"""Of level 1 (70) and level 2 (183); chapters and sections without any of them are not listed."""


class Section(NamedTuple):
    """One section: `lacks` by the requirement's last number, with the reason; `absent`: these ask for what is"
    " not there.

    Without tests all of it is absent.
    """

    number: str
    about: str
    size: int
    how: str = ""
    lacks: Mapping[int, str] = {}
    absent: frozenset[int] = frozenset()
    tests: tuple[str, ...] = ()

    @property
    def met(self) -> int:
        """How many requirements are met."""
        return self.size - len(self.lacks) - len(self.absent)


def _none(number: str, about: str, count: int, why: str) -> Section:
    """Return a section that asks for what Calejo has not got."""
    return Section(number, about, count, f"Not applicable: {why}", {}, frozenset(range(1, count + 1)))


_ATTACKS: Final = "tests/unit/api/access/test_attacks.py::"
_LOGIN: Final = "tests/unit/api/access/test_login.py::"
_ASKING: Final = "tests/unit/api/access/test_limits_of_asking.py::"
_BROWSER: Final = "tests/unit/api/dashboard/test_sessions.py::"
_SERVER: Final = "tests/unit/api/test_server.py::"
_TLS: Final = "tests/unit/api/test_tls.py::"
_LAW: Final = "tests/unit/actors/access/test_law.py::"
_RING: Final = "tests/unit/storage/test_keyring.py::"
_INPUT: Final = "tests/unit/test_bad_input.py::"
_ROUTES: Final = "tests/unit/api/test_routes.py::"
_ANSWERS: Final = "tests/unit/api/test_answering.py::"
_HOSTILE: Final = (
    "tests/unit/api/dashboard/test_pages.py::test_names_from_the_database_are_shown_as_they_stand"
)
_PLAIN: Final = "on loopback without `api.tls` a browser is served by plain HTTP"

SECTIONS: Final = (
    Section(
        "V1.1", "Encoding: where", 2,
        "Decoded once, by the framework; escaped last, by the template or the encoder",
        tests=(_HOSTILE,),
    ),
    Section(
        "V1.2", "Injection", 9,
        "Templates escape, statements have parameters, no shell is called, no pattern is a client's",
        absent=frozenset({6, 7, 8}),
        tests=(f"{_ATTACKS}test_sql_in_a_filter_is_a_value_that_nothing_has", _HOSTILE),
    ),
    Section(
        "V1.3", "Sanitisation", 11, "Nothing that a client sends is run, formatted or fetched",
        absent=frozenset({1, 4, 5, 6, 8, 9, 11}),
        tests=(f"{_ATTACKS}test_a_header_cannot_be_written_into_an_answer", f"{_INPUT}test_commands_by_rest"),
    ),
    Section(
        "V1.4", "Memory and numbers", 3,
        "Python; whole numbers are bounded where they come in", absent=frozenset({1, 3}),
        tests=(f"{_INPUT}test_commands_by_rest",),
    ),
    Section(
        "V1.5", "Deserialisation", 2,
        "JSON into closed, typed structures; no XML is read", absent=frozenset({1}),
        tests=(f"{_ROUTES}test_a_bad_body_is_400_naming_key_value_and_expectation",),
    ),
    Section(
        "V2.1", "Validation, documented", 3,
        "The schema of each operation, configuration.md, limits.md, rest.md",
        tests=("tests/unit/api/test_openapi.py::test_every_operation_tells_rights_errors_and_an_example",),
    ),
    Section(
        "V2.2", "Input validation", 3, "Types, ranges and relations, at the server",
        tests=(f"{_INPUT}test_commands_by_rest", f"{_INPUT}test_limits_in_a_proposal"),
    ),
    Section(
        "V2.3", "Business logic", 4,
        "Proposals in their order, by a second person, within the envelope, in one transaction",
        tests=("tests/unit/api/test_limits.py::test_conflicts_are_409",),
    ),
    Section(
        "V2.4", "Anti-automation", 1, "Rates by user and address; a stop is never held up",
        tests=(f"{_ASKING}test_a_user_who_asks_too_often_waits_and_may_still_stop",),
    ),
    Section(
        "V3.2", "Content in its context", 2, "Types are fixed and not sniffed; text is text",
        tests=(_HOSTILE, f"{_ROUTES}test_answers_carry_security_headers_and_hide_the_server"),
    ),
    Section(
        "V3.3", "Cookies", 4,
        "HttpOnly, SameSite=Strict; over TLS Secure and `__Host-`", {1: _PLAIN, 3: _PLAIN},
        tests=(f"{_BROWSER}test_a_login_gives_a_cookie_that_no_script_reads",),
    ),
    Section(
        "V3.4", "Headers for browsers", 6,
        "A policy that runs our files only, no framing, no referrer, no sniffing, no CORS",
        {1: "a year of HSTS, but not for sub-domains: other hosts of the plant's domain are not ours to bind"},
        tests=(f"{_BROWSER}test_the_policy_lets_nothing_run_but_our_files",
               f"{_ANSWERS}test_no_page_elsewhere_may_ask_unless_it_is_named"),
    ),
    Section(
        "V3.5", "Other origins", 5, "Origin, content type and a proof of our page; commands are never GET",
        absent=frozenset({4, 5}), tests=(f"{_BROWSER}test_what_another_site_has_a_browser_send_is_refused",),
    ),
    Section(
        "V3.7", "Other browser matters", 2, "Plain HTML and script; no redirect leaves this machine",
        tests=(f"{_BROWSER}test_the_login_leads_to_this_machine_only",),
    ),
    Section(
        "V4.1", "Web services", 3, "Types told, no redirects, only the named proxy speaks for others",
        tests=(f"{_TLS}test_only_the_proxy_speaks_for_others",),
    ),
    Section(
        "V4.2", "HTTP messages", 1, "One parser (h11), ambiguous lengths refused",
        tests=(f"{_ATTACKS}test_a_header_smuggled_in_is_400_or_nothing",
               f"{_SERVER}test_what_is_no_http_harms_nothing"),
    ),
    _none("V4.3", "GraphQL", 2, "none"),
    Section(
        "V4.4", "WebSocket", 4, "Own origins only, by the session that asks; ended with it", {1: _PLAIN},
        tests=("tests/unit/api/stream/test_stream.py::test_a_websocket_that_is_refused_says_why",
               "tests/unit/api/stream/test_stream.py::test_a_session_that_ends_ends_its_streams"),
    ),
    _none("V5.1", "Files, documented", 1, "nothing is uploaded"),
    _none("V5.2", "Uploads", 3, "nothing is uploaded"),
    Section(
        "V5.3", "File storage", 2, "No path is made of what a client names", absent=frozenset({1}),
        tests=(f"{_BROWSER}test_only_our_files_are_served",),
    ),
    _none("V5.4", "Downloads", 3, "no file of a client's, none with a client's name"),
    Section(
        "V6.1", "Log-in, documented", 3,
        "security.md; the words of this program that no password is built of stand below",
        tests=(f"{_LAW}test_the_first_guesses_know_the_user_and_the_program",),
    ),
    Section(
        "V6.2", "Passwords", 12,
        "12 to 128 of any kind, judged by guesses, never expiring, changed with the present one",
        {12: "no list of leaked passwords is asked: guesses are judged by lists of common ones and words"},
        tests=(f"{_LOGIN}test_a_password_that_is_guessed_first_is_refused",
               f"{_LAW}test_length_is_all_that_is_asked_of_its_form"),
    ),
    Section(
        "V6.3", "Log-in", 4,
        "Back-off by account and address, which a restart keeps; one law for every way in",
        {
            2: "the first start makes `admin`; its password is generated, shown once and changed at once",
            3: "the second factor is each person's choice; nobody can demand it",
        },
        tests=(f"{_LOGIN}test_too_many_failures_wait_whatever_comes_then",
               f"{_ASKING}test_a_lock_out_outlives_the_api"),
    ),
    Section(
        "V6.4", "Recovery", 4, "Generated passwords count once; no hints",
        {
            3: "a reset by an administrator takes the second factor away too",
            4: "who lost a factor is known to the administrator or not: nothing else is asked",
        },
        tests=(f"{_LOGIN}test_a_new_account_changes_its_password_first",),
    ),
    Section(
        "V6.5", "Second factors", 5, "A code counts once; seeds are random and sealed",
        {5: "the codes of the half minute before and after count too, for clocks that are off"}, frozenset({2, 4}),
        tests=(f"{_LOGIN}test_a_second_factor_counts_once_per_code",),
    ),
    _none("V6.6", "Out-of-band factors", 3, "none"),
    _none("V6.8", "Identity providers", 4, "none"),
    Section(
        "V7.1", "Sessions, documented", 3, "security.md: 30 minutes idle, 12 hours, 20 of a user",
        {1: "deviations from NIST SP 800-63B are not justified there"}, frozenset({3}),
        tests=(f"{_LOGIN}test_the_21st_session_ends_the_first",),
    ),
    Section(
        "V7.2", "Tokens of sessions", 4, "Made by the server, signed, looked up with each request",
        {
            2: "programs show a key that lasts until it is revoked or expires",
            4: "a new log-in ends no other session of that user",
        },
        frozenset({3}),
        tests=(f"{_ATTACKS}test_a_token_that_is_not_ours_is_401",),
    ),
    Section(
        "V7.3", "Time-outs", 2,
        "Idle and absolute", tests=(f"{_LAW}test_a_session_ends_idle_absolutely_by_hand_and_with_its_account",)
    ),
    Section(
        "V7.4", "Ends of sessions", 5,
        "By logout, by time, with the account, by an administrator, with a new password",
        tests=(f"{_ATTACKS}test_a_token_is_worth_nothing_after_logout",
               f"{_LOGIN}test_sessions_are_ended_by_their_user_and_by_an_administrator"),
    ),
    Section(
        "V7.5", "Abuse of sessions", 2, "A second factor is changed with the password",
        {2: "one's own sessions are ended without the password"},
        tests=(f"{_LOGIN}test_a_second_factor_counts_once_per_code",),
    ),
    _none("V7.6", "Federated sessions", 2, "none"),
    Section(
        "V8.1", "Rights, documented", 2, "permissions.md, from the table in code", absent=frozenset({2}),
        tests=("tests/unit/actors/vocabulary/test_access.py::test_every_operation_is_somebodys_and_has_a_meaning",),
    ),
    Section(
        "V8.2", "Rights", 3, "Each route names its operation; each role may what the table says",
        {2: "a role holds for the whole plant: rights do not differ by site or station"}, frozenset({3}),
        tests=(f"{_ATTACKS}test_every_route_is_what_the_table_says_for_every_role",),
    ),
    Section(
        "V8.3", "Where rights are judged", 1, "At the server, with each request",
        tests=(f"{_ATTACKS}test_a_right_that_is_taken_away_is_gone_with_the_next_request",),
    ),
    _none("V8.4", "Tenants", 1, "one plant, one operator"),
    Section(
        "V9.1", "Tokens: source", 3, "HS256 alone, by our own keys",
        tests=(f"{_ATTACKS}test_a_token_that_is_not_ours_is_401",
               f"{_LOGIN}test_keys_that_sign_are_rotated_without_a_logout"),
    ),
    Section(
        "V9.2", "Tokens: content", 4, "Time, kind and audience are judged",
        tests=(f"{_ATTACKS}test_a_token_that_is_not_ours_is_401", f"{_LOGIN}test_an_access_token_refreshes_nothing"),
    ),
    *(
        _none(f"V10.{number}", "OAuth and OIDC", count, "neither client, nor server, nor provider of it")
        for number, count in ((1, 2), (2, 2), (3, 4), (4, 11), (5, 5), (6, 2), (7, 3))
    ),
    Section(
        "V11.1", "Cryptography, documented", 2,
        "What is used where: compliance.md, CR 4.3; rotation: security.md, audit.md",
        {1: "no policy for keys by a standard", 2: "no inventory that is kept up by itself"},
        tests=(f"{_RING}test_a_ring_is_made_once_and_for_its_owner",),
    ),
    Section(
        "V11.2", "Cryptography", 3, "By the package `cryptography`",
        {
            2: "algorithms are named in formats and replaced by a release, not by a setting",
            3: "RSA 2048 of OPC UA clients is taken, as their policies have it",
        },
        tests=("tests/wire/opcua/test_security.py::test_weak_certificates_are_refused",),
    ),
    Section(
        "V11.3", "Encryption", 3, "AES-GCM and ChaCha20 by TLS; Fernet for second factors",
        tests=(f"{_TLS}test_old_versions_and_suites_are_refused",
               f"{_RING}test_a_retired_key_verifies_for_a_while_and_opens_what_it_sealed"),
    ),
    Section(
        "V11.4", "Hashes", 4, "SHA-256; argon2id with OWASP's figures",
        {1: "codes of second factors are HMAC-SHA-1, as authenticators make them; OPC UA names certificates by SHA-1"},
        frozenset({4}),
        tests=(f"{_LOGIN}test_a_bcrypt_hash_is_taken_over",),
    ),
    Section(
        "V11.5", "Random values", 1, "By the system's generator",
        {1: "generated first passwords, which count once, have 99 bits"},
        tests=(f"{_LOGIN}test_what_is_generated_is_not_guessed",),
    ),
    Section(
        "V11.6", "Public keys", 1, "P-256, RSA 3072, Ed25519",
        tests=("tests/unit/ops/test_certificates.py::test_opcua_has_what_its_policies_ask_for",),
    ),
    Section(
        "V12.1", "TLS", 3, "1.2 and 1.3, forward secrecy; Modbus by clients' certificates of one authority",
        tests=(f"{_TLS}test_old_versions_and_suites_are_refused",
               "tests/wire/modbus/test_tls.py::test_wrong_expired_and_omitted_certificates_and_old_tls_get_nothing"),
    ),
    Section(
        "V12.2", "HTTPS outwards", 2, "Beyond loopback by TLS or behind a proxy that ends it",
        {2: "certificates are the plant's own authority's unless the operator loads others"},
        tests=(f"{_TLS}test_beyond_loopback_only_with_tls_or_a_proxy",),
    ),
    Section(
        "V12.3", "Between services", 4, "The command line takes exactly the run's certificate; OPC UA pins",
        {
            1: "plain Modbus; a database or broker whose setting says no TLS",
            3: "health and metrics are plain HTTP on loopback",
        },
        tests=(f"{_TLS}test_the_command_line_takes_exactly_the_runs_certificate",),
    ),
    Section(
        "V13.1", "Configuration, documented", 1, "configuration.md names every server and every peer",
        tests=("tests/unit/ops/test_settings.py::test_the_page_is_made_from_the_code",),
    ),
    Section(
        "V13.2", "Back-end communication", 5,
        "Own logins with the least rights; no destination comes from a request",
        tests=("tests/wire/postgresql/test_postgresql.py::test_the_reader_may_read_what_it_needs_and_nothing_else",),
    ),
    Section(
        "V13.3", "Secrets", 2, "Files of their owner, environment, `${secret:name}`; never shown",
        {1: "no client of a key vault: what a vault puts into a file or the environment is taken"},
        tests=("tests/unit/ops/test_secrets.py::test_a_reference_is_the_content_of_a_file_and_stays_masked",),
    ),
    Section(
        "V13.4", "Leaks of information", 5,
        "Only listed files are served; metrics stay on loopback; no TRACE, no debugging",
        tests=(f"{_BROWSER}test_only_our_files_are_served",
               f"{_SERVER}test_what_is_no_method_of_a_route_is_405_and_options_are_told"),
    ),
    Section(
        "V14.1", "Data, documented", 2, "",
        {1: "data is not classified", 2: "so no level has requirements"},
        tests=("tests/unit/ops/test_settings.py::test_show_masks_every_secret",),
    ),
    Section(
        "V14.2", "Data", 4, "No secret in an address; nothing kept by caches; nothing sent to others",
        {4: "there are no levels to hold it to"},
        tests=("tests/unit/api/dashboard/test_pages.py::test_no_form_can_put_a_secret_into_an_address",
               f"{_ANSWERS}test_what_names_people_is_not_kept"),
    ),
    Section(
        "V14.3", "Data in the browser", 3, "Pages are not kept; storage holds the theme",
        {1: "a page that is open at the end of its session is left, not cleared by Clear-Site-Data"},
        tests=(f"{_BROWSER}test_files_may_be_kept_and_pages_may_not",),
    ),
    Section(
        "V15.1", "Architecture, documented", 3,
        "Every requirement by version and hash; what is costly and how it is bounded",
        {1: "no times by which a vulnerable library is replaced", 2: "no SBOM"},
        tests=("tests/unit/test_ground.py::test_requirements_are_hashed_and_name_no_index",),
    ),
    Section(
        "V15.2", "Architecture", 3, "Bounds on whatever is costly",
        {1: "there are no times to hold it to", 3: "demo and benches are in the package; neither runs unless started"},
        tests=(f"{_ASKING}test_an_address_is_limited_before_anybody_is_known",),
    ),
    Section(
        "V15.3", "Defensive code", 7, "Closed bodies, named fields, strict types; senders by the proxy alone",
        absent=frozenset({2}),
        tests=(f"{_LOGIN}test_a_body_of_secrets_is_never_repeated", f"{_TLS}test_only_the_proxy_speaks_for_others"),
    ),
    Section(
        "V16.1", "Logging, documented", 1, "audit-events.md lists the trail",
        {1: "what processes write to their logs is not listed"},
        tests=("tests/unit/ops/audit/test_documents.py::test_what_is_made_from_code_is_up_to_date",),
    ),
    Section(
        "V16.2", "Logging", 5, "Who, what, from where, when (UTC); no secret",
        tests=(f"{_ATTACKS}test_what_was_ours_and_is_over_is_written_down_with_its_owner",),
    ),
    Section(
        "V16.3", "Security events", 4, "Log-ins, refusals, floods, certificates",
        tests=(f"{_LOGIN}test_a_flood_is_told_once_with_its_count",
               "tests/unit/api/test_audit.py::test_refusals_are_in_the_trail_but_cannot_fill_it"),
    ),
    Section(
        "V16.4", "Protection of logs", 3, "The trail is a signed chain; logs are JSON, a line each",
        {3: "checkpoints leave the machine by themselves, records and logs by export"},
        tests=("tests/unit/ops/audit/test_attacks.py::test_an_attack_on_the_database_is_found",),
    ),
    Section(
        "V16.5", "Errors", 3, "A problem in a fixed form; what fails fails closed",
        tests=(f"{_ANSWERS}test_every_error_is_a_problem", f"{_SERVER}test_a_bug_in_a_handler_costs_one_request"),
    ),
    *(
        _none(f"V17.{number}", "WebRTC", count, "none")
        for number, count in ((1, 1), (2, 4), (3, 2))
    ),
)  # fmt: skip
