-- Commands by their key, failed logins (API-2, SEC-1), for SQLite. Frozen.
-- Statements are parted by lines that say "--;".
CREATE TABLE request_keys (
  user_id TEXT NOT NULL,
  key TEXT NOT NULL,
  request_hash TEXT NOT NULL,
  asked_at TEXT NOT NULL,
  status INTEGER,
  content_type TEXT DEFAULT '' NOT NULL,
  body TEXT DEFAULT '' NOT NULL,
  CONSTRAINT pk_request_keys PRIMARY KEY (user_id, key),
  CONSTRAINT ck_request_keys_asked_at_has_offset CHECK (asked_at IS NULL OR (asked_at GLOB '[12][0-9][0-9][0-9]-[01][0-9]-[0-3][0-9][T ][0-2][0-9]:[0-5][0-9]*Z' OR asked_at GLOB '[12][0-9][0-9][0-9]-[01][0-9]-[0-3][0-9][T ][0-2][0-9]:[0-5][0-9]*[+-][0-9][0-9]:[0-9][0-9]') AND julianday(asked_at) IS NOT NULL AND instr(substr(asked_at, 12), ' ') = 0 AND date(substr(asked_at, 1, 10), '+0 days') = substr(asked_at, 1, 10) AND substr(asked_at, 12, 2) < '24'),
  CONSTRAINT ck_request_keys_status_is_whole CHECK (typeof(status) IN ('integer', 'null')),
  CONSTRAINT ck_request_keys_request_is_hashed CHECK (length(request_hash) = 64)
)
--;
CREATE INDEX ix_request_keys_hot ON request_keys (julianday(asked_at))
--;
CREATE TABLE login_failures (
  kind TEXT NOT NULL,
  name TEXT NOT NULL,
  count INTEGER NOT NULL,
  last_at TEXT NOT NULL,
  CONSTRAINT pk_login_failures PRIMARY KEY (kind, name),
  CONSTRAINT ck_login_failures_last_at_has_offset CHECK (last_at IS NULL OR (last_at GLOB '[12][0-9][0-9][0-9]-[01][0-9]-[0-3][0-9][T ][0-2][0-9]:[0-5][0-9]*Z' OR last_at GLOB '[12][0-9][0-9][0-9]-[01][0-9]-[0-3][0-9][T ][0-2][0-9]:[0-5][0-9]*[+-][0-9][0-9]:[0-9][0-9]') AND julianday(last_at) IS NOT NULL AND instr(substr(last_at, 12), ' ') = 0 AND date(substr(last_at, 1, 10), '+0 days') = substr(last_at, 1, 10) AND substr(last_at, 12, 2) < '24'),
  CONSTRAINT ck_login_failures_count_is_whole CHECK (typeof(count) IN ('integer', 'null')),
  CONSTRAINT ck_login_failures_kind_is_known CHECK (kind IN ('ACCOUNT', 'ADDRESS')),
  CONSTRAINT ck_login_failures_count_is_positive CHECK (count > 0)
)
