"""What REST remembers of requests: commands by their key, failed logins (API-2, SEC-1)."""

from __future__ import annotations

from typing import Final

from sqlalchemy import Column, Index, Table, Text

from actors.vocabulary.requests import Failing
from storage.models.base import (
    check,
    metadata,
    moment,
    one_of,
    text_column,
    time,
    time_checks,
    whole,
    whole_checks,
)

request_keys: Final = Table(
    "request_keys",
    metadata,
    Column("user_id", Text(), primary_key=True),
    Column("key", Text(), primary_key=True),
    text_column("request_hash"),
    time("asked_at"),
    whole("status"),
    text_column("content_type", default=""),
    text_column("body", default=""),
    *time_checks("asked_at"),
    *whole_checks("status"),
    check("request_is_hashed", "length(request_hash) = 64"),
)
Index("ix_request_keys_hot", moment(request_keys.c.asked_at))

login_failures: Final = Table(
    "login_failures",
    metadata,
    Column("kind", Text(), primary_key=True),
    Column("name", Text(), primary_key=True),
    whole("count", nullable=False),
    time("last_at"),
    *time_checks("last_at"),
    *whole_checks("count"),
    one_of("kind", Failing),
    check("count_is_positive", "count > 0"),
)
