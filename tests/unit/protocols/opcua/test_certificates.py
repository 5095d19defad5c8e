"""Which certificates are taken, and with which status the others are refused."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from asyncua import ua
from cryptography.hazmat.primitives import hashes

from actors.vocabulary.access import UserRole
from actors.vocabulary.pki import CERTIFICATE_BYTES_MAX, Trust, UserCertificate
from protocols.opcua.certificates import (
    APPLICATION_URI,
    Rejected,
    application_uri,
    first_of,
    judge_application,
    judge_uri,
    judge_user,
)
from protocols.opcua.policies import factories
from tests.wire.opcua.papers import CLIENT_URI, paper, server_paper

NOW = datetime.now(UTC)  # noqa: TID251 - the papers are made around it
GOOD = paper("client")


def trusting(*ders: bytes) -> Trust:
    return Trust(applications=frozenset(ders))


def code_of(error: pytest.ExceptionInfo[Rejected]) -> str:
    return ua.StatusCode(ua.UInt32(error.value.code)).name


def test_a_trusted_certificate_is_taken_also_at_the_head_of_a_chain() -> None:
    """OPC-4: the first certificate is judged; what follows it gives no trust and takes none."""
    for shown in (GOOD.der, GOOD.der + server_paper().der):
        assert judge_application(shown, trusting(GOOD.der), now=NOW) == GOOD.certificate
    with pytest.raises(Rejected) as error:
        judge_application(paper("stranger").der + GOOD.der, trusting(GOOD.der), now=NOW)
    assert code_of(error) == "BadSecurityChecksFailed"


def test_another_certificate_of_the_same_key_and_name_is_not_trusted() -> None:
    """OPC-4: pinned is the very certificate, not its key, its name or who signed it."""
    twin = paper("client", days=(-1.0, 11.0))
    assert twin.certificate.public_key() == GOOD.certificate.public_key()
    with pytest.raises(Rejected) as error:
        judge_application(twin.der, trusting(GOOD.der), now=NOW)
    assert error.value.certificate == twin.der


@pytest.mark.parametrize(
    ("made", "code"),
    [
        ({"name": "weak", "bits": 1_024}, "BadCertificatePolicyCheckFailed"),
        ({"name": "elliptic", "bits": 0}, "BadCertificatePolicyCheckFailed"),
        ({"name": "expired", "days": (-9, -1)}, "BadCertificateTimeInvalid"),
        ({"name": "early", "days": (1, 9)}, "BadCertificateTimeInvalid"),
        ({"name": "no-signer", "usage": False}, "BadCertificateUseNotAllowed"),
    ],
)
def test_a_trusted_certificate_that_is_not_good_is_refused(made: dict[str, Any], code: str) -> None:
    """OPC-4: trusted is not enough, for a program as for a user."""
    shown = paper(**made)
    with pytest.raises(Rejected) as error:
        judge_application(shown.der, trusting(shown.der), now=NOW)
    assert code_of(error) == code
    user = UserCertificate(name="x", role=UserRole.FIELD)
    with pytest.raises(Rejected) as error:
        judge_user(shown.der, Trust(users={shown.der: user}), now=NOW)
    assert code_of(error) == code


def test_an_old_one_without_key_usage_may_be_pinned() -> None:
    """OPC-4: programs of before wrote none; whoever pinned it looked at it."""
    plain = paper("plain", usage=None)
    assert judge_application(plain.der, trusting(plain.der), now=NOW) == plain.certificate


def test_time_runs_out() -> None:
    """OPC-4: judged by the moment, to its very end."""
    ends = GOOD.certificate.not_valid_after_utc
    judge_application(GOOD.der, trusting(GOOD.der), now=ends)
    with pytest.raises(Rejected):
        judge_application(GOOD.der, trusting(GOOD.der), now=ends + timedelta(seconds=1))


def test_garbage_is_no_certificate() -> None:
    """OPC-5: whatever bytes come, the answer is a refusal; seeded."""
    chance = random.Random(4)
    tries = [b"", b"\x30", b"\x30\x84\xff\xff\xff\xff", b"\x30\x80", bytes(100_000), GOOD.der[:-1]]
    for _ in range(300):
        damaged = bytearray(GOOD.der)
        for _ in range(chance.randint(1, 8)):
            damaged[chance.randrange(len(damaged))] = chance.randrange(256)
        if bytes(damaged) != GOOD.der:
            tries.append(bytes(damaged))
    for shown in tries:
        assert len(first_of(shown)) <= len(shown)
        # Even if somebody had pinned these very bytes, they are at worst another certificate of the same key.
        with pytest.raises(Rejected):
            judge_application(shown, trusting(GOOD.der), now=NOW)
    with pytest.raises(Rejected):
        judge_application(GOOD.der[:2] + bytes(CERTIFICATE_BYTES_MAX), trusting(GOOD.der), now=NOW)


def test_a_program_calls_itself_what_its_certificate_says() -> None:
    """OPC-4 (OPC 10000-6, 6.2.2): the application URI, exactly."""
    judge_uri(GOOD.certificate, CLIENT_URI)
    for uri in ("", CLIENT_URI + "x", APPLICATION_URI):
        with pytest.raises(Rejected) as error:
            judge_uri(GOOD.certificate, uri)
        assert code_of(error) == "BadCertificateUriInvalid"


def test_our_own_name_is_that_of_our_certificate() -> None:
    """OPC-4: clients refuse a server whose name is not in its certificate."""
    assert application_uri(server_paper().own) == APPLICATION_URI
    assert application_uri(paper("named", uri="urn:works:scada-7").own) == "urn:works:scada-7"
    assert application_uri(None) == APPLICATION_URI


def test_without_a_certificate_there_is_only_discovery() -> None:
    """OPC-4: no policy can be made of nothing; with one there are two, each in two modes."""
    assert [each.cls.URI.rpartition("#")[2] for each in factories(None)] == ["None"]
    made = [(each.cls.URI.rpartition("#")[2], each.mode.name) for each in factories(server_paper().own)]
    assert sorted(made) == [
        ("Aes256_Sha256_RsaPss", "Sign"),
        ("Aes256_Sha256_RsaPss", "SignAndEncrypt"),
        ("Basic256Sha256", "Sign"),
        ("Basic256Sha256", "SignAndEncrypt"),
        ("None", "None_"),
    ]


def test_a_signature_with_sha1_is_too_weak() -> None:
    """OPC-4: SHA-1 signs nothing here; the library itself refuses to make such a certificate."""
    with pytest.raises(Exception, match=r"(?i)sha1|hash"):
        paper("sha1", algorithm=hashes.SHA1)
