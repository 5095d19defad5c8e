"""Secrets come from files and never show (SEC-3)."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from actors.vocabulary import InvalidValueError
from ops.settings import load
from storage.masking import masked

SECRET = "k" * 40


def test_a_reference_is_the_content_of_a_file_and_stays_masked(tmp_path: Path) -> None:
    """SEC-3: `${secret:name}`, alone or inside a URL; `config show` never shows it."""
    (tmp_path / "signing").write_text(f"{SECRET}\n")
    (tmp_path / "db").write_text("p4ss")
    environment = {
        "CALEJO_SECRETS_DIR": str(tmp_path),
        "CALEJO_ACCESS__SIGNING_KEYS": "${secret:signing}",
        "CALEJO_DATABASE__URL": "postgresql+psycopg://calejo:${secret:db}@db.example/calejo",
        "CALEJO_SPARKPLUG__HOST": "localhost",
        "CALEJO_SPARKPLUG__USER": "calejo",
        "CALEJO_SPARKPLUG__PASSWORD": "${secret:db}",
    }
    settings = load(file=None, environment=environment, options={}).settings
    assert settings.access.signing_keys == SECRET
    assert settings.database.url == "postgresql+psycopg://calejo:p4ss@db.example/calejo"
    assert settings.sparkplug.password == "p4ss"
    shown = str(masked(settings))
    assert SECRET not in shown
    assert "p4ss" not in shown


@pytest.mark.parametrize("key", ["sparkplug.user", "data_dir", "api.names"])
def test_a_reference_that_nobody_follows_is_refused(tmp_path: Path, key: str) -> None:
    """SEC-3: left as it stands it would be the value; the key and those that take one are named."""
    (tmp_path / "mqtt").write_text("p4ss")
    section, _, leaf = key.rpartition(".")
    value = {leaf: "${secret:mqtt}"}
    file = tmp_path / "calejo.json"
    file.write_text(json.dumps({section: value} if section else value))
    with pytest.raises(InvalidValueError, match="takes no") as refused:
        load(file=file, environment={"CALEJO_SECRETS_DIR": str(tmp_path)}, options={})
    assert repr(key) in str(refused.value)
    assert "sparkplug.password" in str(refused.value)


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ("${secret:nobody}", "No such file"),
        ("${secret:../../etc/passwd}", "no name of a file"),
        ("${secret:}", "no name of a file"),
        ("${secret:empty}", "empty"),
        ("short", "at least 32"),
        (f"{SECRET},short", "at least 32"),
    ],
)
def test_a_secret_that_cannot_be_had_is_named_without_its_content(
    tmp_path: Path, value: str, why: str
) -> None:
    """SEC-3, CFG-1: key, name and file; never what was read."""
    (tmp_path / "empty").write_text("\n")
    environment = {"CALEJO_SECRETS_DIR": str(tmp_path), "CALEJO_ACCESS__SIGNING_KEYS": value}
    with pytest.raises(InvalidValueError, match=why) as refused:
        load(file=None, environment=environment, options={})
    assert "signing_keys" in str(refused.value)
    assert SECRET not in str(refused.value)


@pytest.mark.parametrize(
    "given",
    [
        {"API__HOST": "0.0.0.0", "API__TLS": "true"},
        {"API__HOST": "192.0.2.7", "API__TRUSTED_PROXY": "192.0.2.1"},
        {"API__HOST": "::", "API__TLS": "true", "API__CERTIFICATE": "/a", "API__PRIVATE_KEY": "/b"},
        {"ACCESS__TOKEN_S": "60", "ACCESS__IDLE_S": "60", "ACCESS__SESSION_S": "300"},
    ],
)
def test_what_goes_beyond_loopback_goes_with_tls_or_a_proxy(given: dict[str, str]) -> None:
    """SEC-4: then REST may bind anywhere."""
    load(file=None, environment={f"CALEJO_{key}": value for key, value in given.items()}, options={})


@pytest.mark.parametrize(
    ("given", "key"),
    [
        ({"API__HOST": "0.0.0.0"}, "api.host"),
        ({"API__HOST": "192.0.2.7", "API__TRUSTED_PROXY": "proxy.example"}, "api.trusted_proxy"),
        ({"API__HOST": "example.org", "API__TLS": "true"}, "api.host"),
        ({"API__CERTIFICATE": "/a", "API__PRIVATE_KEY": "/b"}, "api.certificate"),
        ({"API__TLS": "true", "API__CERTIFICATE": "/a"}, "api.private_key"),
        ({"ACCESS__TOKEN_S": "1"}, "access.token_s"),
        ({"ACCESS__TOKEN_S": "nan"}, "access.token_s"),
        ({"ACCESS__IDLE_S": "599"}, "access.idle_s"),
        ({"ACCESS__SESSION_S": "1000"}, "access.idle_s"),
        ({"PORTS__HOST": "0.0.0.0"}, "ports.host"),
        ({"API__CORS_ORIGINS": "*"}, "api.cors_origins"),
        ({"API__CORS_ORIGINS": "https://a.example, https://b.example/path"}, "api.cors_origins"),
        ({"API__USER_REQUESTS_PER_S": "0.5"}, "api.user_requests_per_s"),
        ({"API__ADDRESS_REQUESTS_PER_S": "-1"}, "api.address_requests_per_s"),
    ],
)
def test_what_would_be_open_is_refused(given: dict[str, str], key: str) -> None:
    """SEC-4, CFG-1: in one line that names the key."""
    with pytest.raises(InvalidValueError, match=key):
        load(file=None, environment={f"CALEJO_{name}": value for name, value in given.items()}, options={})
