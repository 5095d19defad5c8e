-- Commands by their key, failed logins (API-2, SEC-1), for PostgreSQL. Frozen.
-- Statements are parted by lines that say "--;".
CREATE TABLE request_keys (
  user_id TEXT NOT NULL,
  key TEXT NOT NULL,
  request_hash TEXT NOT NULL,
  asked_at TIMESTAMP WITH TIME ZONE NOT NULL,
  status INTEGER,
  content_type TEXT DEFAULT '' NOT NULL,
  body TEXT DEFAULT '' NOT NULL,
  CONSTRAINT pk_request_keys PRIMARY KEY (user_id, key),
  CONSTRAINT ck_request_keys_asked_at_is_finite CHECK (asked_at >= '1000-01-01 00:00:00+00' AND asked_at < '3000-01-01 00:00:00+00'),
  CONSTRAINT ck_request_keys_request_is_hashed CHECK (length(request_hash) = 64)
)
--;
CREATE INDEX ix_request_keys_hot ON request_keys (asked_at)
--;
CREATE TABLE login_failures (
  kind TEXT NOT NULL,
  name TEXT NOT NULL,
  count INTEGER NOT NULL,
  last_at TIMESTAMP WITH TIME ZONE NOT NULL,
  CONSTRAINT pk_login_failures PRIMARY KEY (kind, name),
  CONSTRAINT ck_login_failures_last_at_is_finite CHECK (last_at >= '1000-01-01 00:00:00+00' AND last_at < '3000-01-01 00:00:00+00'),
  CONSTRAINT ck_login_failures_kind_is_known CHECK (kind IN ('ACCOUNT', 'ADDRESS')),
  CONSTRAINT ck_login_failures_count_is_positive CHECK (count > 0)
)
--;
GRANT SELECT, INSERT, UPDATE, DELETE ON request_keys, login_failures TO control_writer
