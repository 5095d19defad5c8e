"""Goal: secrets are their owner's alone, rotated without loss, and never shown."""

from __future__ import annotations

import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from actors.vocabulary import DeviceError, InvalidValueError
from storage.keyring import KEYS_FILE, KEYS_MAX, KeyFile, configured_keys
from storage.local_credential import FOLDER, LocalCredential

NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)


def test_a_ring_is_made_once_and_for_its_owner(tmp_path: Path) -> None:
    """SEC-1, SEC-3: 0600, made once, the same after a restart; its text names no secret."""
    keys = KeyFile(tmp_path)
    keys.ensure(now=NOON)
    key_id, secret = keys.ring().signing
    keys.ensure(now=NOON)
    assert KeyFile(tmp_path).ring().signing == (key_id, secret)
    assert stat.S_IMODE((tmp_path / FOLDER / KEYS_FILE).stat().st_mode) == 0o600
    assert secret not in repr(keys.ring())
    assert len(secret) == 64


@pytest.mark.parametrize("content", [b"", b"{", b'{"keys": []}', b'{"keys": [{"key_id": 5}]}'])
def test_a_damaged_file_is_said_to_be_one(tmp_path: Path, content: bytes) -> None:
    """SEC-1: never silently replaced: everybody would be logged out and second factors lost."""
    (tmp_path / FOLDER).mkdir()
    file = tmp_path / FOLDER / KEYS_FILE
    file.write_bytes(content)
    file.chmod(0o600)
    keys = KeyFile(tmp_path)
    keys.ensure(now=NOON)
    with pytest.raises(DeviceError, match="damaged"):
        keys.ring()
    assert file.read_bytes() == content


def test_a_file_that_others_may_read_is_refused(tmp_path: Path) -> None:
    """SEC-3: key material 0600."""
    keys = KeyFile(tmp_path)
    keys.ensure(now=NOON)
    (tmp_path / FOLDER / KEYS_FILE).chmod(0o640)
    with pytest.raises(DeviceError, match="0600"):
        KeyFile(tmp_path).ring()


def test_a_retired_key_verifies_for_a_while_and_opens_what_it_sealed(tmp_path: Path) -> None:
    """SEC-1: rotation costs nobody a login or a second factor; the number of keys is bounded."""
    keys = KeyFile(tmp_path)
    keys.ensure(now=NOON)
    first = keys.ring().signing[0]
    sealed = keys.ring().seal("JBSWY3DPEHPK3PXP")
    assert "JBSWY" not in sealed
    keys.rotate(now=NOON + timedelta(hours=1), verify_for_s=43_200.0)
    assert keys.ring().signing[0] != first
    assert keys.ring().secret(first) is not None
    keys.rotate(now=NOON + timedelta(hours=14), verify_for_s=43_200.0)
    assert keys.ring().secret(first) is None
    assert keys.ring().unseal(sealed) == "JBSWY3DPEHPK3PXP"
    for hour in range(2 * KEYS_MAX):
        keys.rotate(now=NOON + timedelta(days=1, hours=hour), verify_for_s=0.0)
    with pytest.raises(DeviceError, match="no longer in the key ring"):
        keys.ring().unseal(sealed)


def test_configured_keys_count_alone_and_are_rotated_where_they_stand(tmp_path: Path) -> None:
    """SEC-3: from environment, file or secret store; nothing is written then."""
    old, new = "o" * 32, "n" * 32
    before, after = KeyFile(tmp_path, configured=old), KeyFile(tmp_path, configured=f"{new}, {old}")
    after.ensure(now=NOON)
    assert list(tmp_path.iterdir()) == []
    key_id = before.ring().signing[0]
    assert after.ring().secret(key_id) == old
    assert after.ring().signing[1] == new
    assert after.ring().unseal(before.ring().seal("x")) == "x"
    with pytest.raises(InvalidValueError, match="configured"):
        after.rotate(now=NOON, verify_for_s=0.0)
    with pytest.raises(InvalidValueError) as refused:
        configured_keys("short")
    assert "short" not in str(refused.value)


def test_the_local_credential_is_new_at_each_start(tmp_path: Path) -> None:
    """SEC-3: 0600; what another run had is worth nothing."""
    credential = LocalCredential(tmp_path)
    assert credential.read() == ""
    credential.renew()
    first = credential.read()
    credential.renew()
    assert len(first) == 64
    assert credential.read() != first
    assert stat.S_IMODE(credential.path.stat().st_mode) == 0o600
