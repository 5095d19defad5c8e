"""Users, their sessions, and the keys of service accounts (SEC-1)."""

from __future__ import annotations

from typing import Final

from sqlalchemy import Column, ForeignKey, Index, Table, Text

from actors.vocabulary.access import UserRole
from actors.vocabulary.users import AccountKind
from storage.models.base import (
    RawJson,
    check,
    flag,
    flag_checks,
    metadata,
    one_of,
    text_column,
    time,
    time_checks,
    whole,
    whole_checks,
)

users: Final = Table(
    "users",
    metadata,
    Column("user_id", Text(), primary_key=True),
    text_column("kind"),
    text_column("role"),
    flag("enabled", default=True),
    text_column("password_hash", default=""),
    time("password_at", nullable=True),
    flag("must_change", default=False),
    text_column("totp", default=""),
    text_column("totp_wanted", default=""),
    whole("totp_step", nullable=False, default="0"),
    time("created_at"),
    text_column("created_by"),
    *time_checks("password_at", "created_at"),
    *flag_checks("enabled", "must_change"),
    *whole_checks("totp_step"),
    one_of("kind", AccountKind),
    one_of("role", UserRole),
    check("user_id_is_lower", "user_id = lower(user_id)"),
    check("user_id_named", "trim(user_id) <> ''"),
    # A program does not type passwords, and a hash that nobody made is none.
    check("service_has_no_password", "kind = 'PERSON' OR password_hash = ''"),
    check("password_is_hashed", "password_hash = '' OR substr(password_hash, 1, 1) = '$'"),
)

user_sessions: Final = Table(
    "user_sessions",
    metadata,
    Column("session_id", Text(), primary_key=True),
    Column("user_id", Text(), ForeignKey("users.user_id"), nullable=False),
    time("started_at"),
    time("seen_at"),
    time("expires_at"),
    text_column("source_address"),
    text_column("client", default=""),
    whole("generation", nullable=False, default="0"),
    time("ended_at", nullable=True),
    text_column("ended_by", default=""),
    text_column("end_reason", default=""),
    *time_checks("started_at", "seen_at", "expires_at", "ended_at"),
    *whole_checks("generation"),
    check("end_is_named", "(ended_at IS NULL) = (ended_by = '')"),
)
Index("ix_user_sessions_hot", user_sessions.c.user_id, user_sessions.c.ended_at)

service_keys: Final = Table(
    "service_keys",
    metadata,
    Column("key_id", Text(), primary_key=True),
    Column("user_id", Text(), ForeignKey("users.user_id"), nullable=False),
    text_column("secret_hash"),
    text_column("label", default=""),
    Column("operations", RawJson(), nullable=False),
    time("created_at"),
    text_column("created_by"),
    time("expires_at", nullable=True),
    time("revoked_at", nullable=True),
    text_column("revoked_by", default=""),
    *time_checks("created_at", "expires_at", "revoked_at"),
    check("secret_is_hashed", "length(secret_hash) = 64"),
    check("revocation_is_named", "(revoked_at IS NULL) = (revoked_by = '')"),
)
Index("ix_service_keys_hot", service_keys.c.user_id)
