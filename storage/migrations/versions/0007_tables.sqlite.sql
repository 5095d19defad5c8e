-- Users, their sessions, keys of service accounts (SEC-1), for SQLite. Frozen.
-- Statements are parted by lines that say "--;".
CREATE TABLE users (
  user_id TEXT NOT NULL,
  kind TEXT NOT NULL,
  role TEXT NOT NULL,
  enabled BOOLEAN DEFAULT 1 NOT NULL,
  password_hash TEXT DEFAULT '' NOT NULL,
  password_at TEXT,
  must_change BOOLEAN DEFAULT 0 NOT NULL,
  totp TEXT DEFAULT '' NOT NULL,
  totp_wanted TEXT DEFAULT '' NOT NULL,
  totp_step INTEGER DEFAULT '0' NOT NULL,
  created_at TEXT NOT NULL,
  created_by TEXT NOT NULL,
  CONSTRAINT pk_users PRIMARY KEY (user_id),
  CONSTRAINT ck_users_password_at_has_offset CHECK (password_at IS NULL OR (password_at GLOB '[12][0-9][0-9][0-9]-[01][0-9]-[0-3][0-9][T ][0-2][0-9]:[0-5][0-9]*Z' OR password_at GLOB '[12][0-9][0-9][0-9]-[01][0-9]-[0-3][0-9][T ][0-2][0-9]:[0-5][0-9]*[+-][0-9][0-9]:[0-9][0-9]') AND julianday(password_at) IS NOT NULL AND instr(substr(password_at, 12), ' ') = 0 AND date(substr(password_at, 1, 10), '+0 days') = substr(password_at, 1, 10) AND substr(password_at, 12, 2) < '24'),
  CONSTRAINT ck_users_created_at_has_offset CHECK (created_at IS NULL OR (created_at GLOB '[12][0-9][0-9][0-9]-[01][0-9]-[0-3][0-9][T ][0-2][0-9]:[0-5][0-9]*Z' OR created_at GLOB '[12][0-9][0-9][0-9]-[01][0-9]-[0-3][0-9][T ][0-2][0-9]:[0-5][0-9]*[+-][0-9][0-9]:[0-9][0-9]') AND julianday(created_at) IS NOT NULL AND instr(substr(created_at, 12), ' ') = 0 AND date(substr(created_at, 1, 10), '+0 days') = substr(created_at, 1, 10) AND substr(created_at, 12, 2) < '24'),
  CONSTRAINT ck_users_enabled_is_flag CHECK (enabled IN (0, 1)),
  CONSTRAINT ck_users_must_change_is_flag CHECK (must_change IN (0, 1)),
  CONSTRAINT ck_users_totp_step_is_whole CHECK (typeof(totp_step) IN ('integer', 'null')),
  CONSTRAINT ck_users_kind_is_known CHECK (kind IN ('PERSON', 'SERVICE')),
  CONSTRAINT ck_users_role_is_known CHECK (role IN ('READ_ONLY', 'FIELD', 'OPERATOR', 'ENGINEER', 'ADMINISTRATOR')),
  CONSTRAINT ck_users_user_id_is_lower CHECK (user_id = lower(user_id)),
  CONSTRAINT ck_users_user_id_named CHECK (trim(user_id) <> ''),
  CONSTRAINT ck_users_service_has_no_password CHECK (kind = 'PERSON' OR password_hash = ''),
  CONSTRAINT ck_users_password_is_hashed CHECK (password_hash = '' OR substr(password_hash, 1, 1) = '$')
)
--;
CREATE TABLE user_sessions (
  session_id TEXT NOT NULL,
  user_id TEXT NOT NULL,
  started_at TEXT NOT NULL,
  seen_at TEXT NOT NULL,
  expires_at TEXT NOT NULL,
  source_address TEXT NOT NULL,
  client TEXT DEFAULT '' NOT NULL,
  generation INTEGER DEFAULT '0' NOT NULL,
  ended_at TEXT,
  ended_by TEXT DEFAULT '' NOT NULL,
  end_reason TEXT DEFAULT '' NOT NULL,
  CONSTRAINT pk_user_sessions PRIMARY KEY (session_id),
  CONSTRAINT ck_user_sessions_started_at_has_offset CHECK (started_at IS NULL OR (started_at GLOB '[12][0-9][0-9][0-9]-[01][0-9]-[0-3][0-9][T ][0-2][0-9]:[0-5][0-9]*Z' OR started_at GLOB '[12][0-9][0-9][0-9]-[01][0-9]-[0-3][0-9][T ][0-2][0-9]:[0-5][0-9]*[+-][0-9][0-9]:[0-9][0-9]') AND julianday(started_at) IS NOT NULL AND instr(substr(started_at, 12), ' ') = 0 AND date(substr(started_at, 1, 10), '+0 days') = substr(started_at, 1, 10) AND substr(started_at, 12, 2) < '24'),
  CONSTRAINT ck_user_sessions_seen_at_has_offset CHECK (seen_at IS NULL OR (seen_at GLOB '[12][0-9][0-9][0-9]-[01][0-9]-[0-3][0-9][T ][0-2][0-9]:[0-5][0-9]*Z' OR seen_at GLOB '[12][0-9][0-9][0-9]-[01][0-9]-[0-3][0-9][T ][0-2][0-9]:[0-5][0-9]*[+-][0-9][0-9]:[0-9][0-9]') AND julianday(seen_at) IS NOT NULL AND instr(substr(seen_at, 12), ' ') = 0 AND date(substr(seen_at, 1, 10), '+0 days') = substr(seen_at, 1, 10) AND substr(seen_at, 12, 2) < '24'),
  CONSTRAINT ck_user_sessions_expires_at_has_offset CHECK (expires_at IS NULL OR (expires_at GLOB '[12][0-9][0-9][0-9]-[01][0-9]-[0-3][0-9][T ][0-2][0-9]:[0-5][0-9]*Z' OR expires_at GLOB '[12][0-9][0-9][0-9]-[01][0-9]-[0-3][0-9][T ][0-2][0-9]:[0-5][0-9]*[+-][0-9][0-9]:[0-9][0-9]') AND julianday(expires_at) IS NOT NULL AND instr(substr(expires_at, 12), ' ') = 0 AND date(substr(expires_at, 1, 10), '+0 days') = substr(expires_at, 1, 10) AND substr(expires_at, 12, 2) < '24'),
  CONSTRAINT ck_user_sessions_ended_at_has_offset CHECK (ended_at IS NULL OR (ended_at GLOB '[12][0-9][0-9][0-9]-[01][0-9]-[0-3][0-9][T ][0-2][0-9]:[0-5][0-9]*Z' OR ended_at GLOB '[12][0-9][0-9][0-9]-[01][0-9]-[0-3][0-9][T ][0-2][0-9]:[0-5][0-9]*[+-][0-9][0-9]:[0-9][0-9]') AND julianday(ended_at) IS NOT NULL AND instr(substr(ended_at, 12), ' ') = 0 AND date(substr(ended_at, 1, 10), '+0 days') = substr(ended_at, 1, 10) AND substr(ended_at, 12, 2) < '24'),
  CONSTRAINT ck_user_sessions_generation_is_whole CHECK (typeof(generation) IN ('integer', 'null')),
  CONSTRAINT ck_user_sessions_end_is_named CHECK ((ended_at IS NULL) = (ended_by = '')),
  CONSTRAINT fk_user_sessions_user_id FOREIGN KEY(user_id) REFERENCES users (user_id)
)
--;
CREATE INDEX ix_user_sessions_hot ON user_sessions (user_id, ended_at)
--;
CREATE TABLE service_keys (
  key_id TEXT NOT NULL,
  user_id TEXT NOT NULL,
  secret_hash TEXT NOT NULL,
  label TEXT DEFAULT '' NOT NULL,
  operations TEXT NOT NULL,
  created_at TEXT NOT NULL,
  created_by TEXT NOT NULL,
  expires_at TEXT,
  revoked_at TEXT,
  revoked_by TEXT DEFAULT '' NOT NULL,
  CONSTRAINT pk_service_keys PRIMARY KEY (key_id),
  CONSTRAINT ck_service_keys_created_at_has_offset CHECK (created_at IS NULL OR (created_at GLOB '[12][0-9][0-9][0-9]-[01][0-9]-[0-3][0-9][T ][0-2][0-9]:[0-5][0-9]*Z' OR created_at GLOB '[12][0-9][0-9][0-9]-[01][0-9]-[0-3][0-9][T ][0-2][0-9]:[0-5][0-9]*[+-][0-9][0-9]:[0-9][0-9]') AND julianday(created_at) IS NOT NULL AND instr(substr(created_at, 12), ' ') = 0 AND date(substr(created_at, 1, 10), '+0 days') = substr(created_at, 1, 10) AND substr(created_at, 12, 2) < '24'),
  CONSTRAINT ck_service_keys_expires_at_has_offset CHECK (expires_at IS NULL OR (expires_at GLOB '[12][0-9][0-9][0-9]-[01][0-9]-[0-3][0-9][T ][0-2][0-9]:[0-5][0-9]*Z' OR expires_at GLOB '[12][0-9][0-9][0-9]-[01][0-9]-[0-3][0-9][T ][0-2][0-9]:[0-5][0-9]*[+-][0-9][0-9]:[0-9][0-9]') AND julianday(expires_at) IS NOT NULL AND instr(substr(expires_at, 12), ' ') = 0 AND date(substr(expires_at, 1, 10), '+0 days') = substr(expires_at, 1, 10) AND substr(expires_at, 12, 2) < '24'),
  CONSTRAINT ck_service_keys_revoked_at_has_offset CHECK (revoked_at IS NULL OR (revoked_at GLOB '[12][0-9][0-9][0-9]-[01][0-9]-[0-3][0-9][T ][0-2][0-9]:[0-5][0-9]*Z' OR revoked_at GLOB '[12][0-9][0-9][0-9]-[01][0-9]-[0-3][0-9][T ][0-2][0-9]:[0-5][0-9]*[+-][0-9][0-9]:[0-9][0-9]') AND julianday(revoked_at) IS NOT NULL AND instr(substr(revoked_at, 12), ' ') = 0 AND date(substr(revoked_at, 1, 10), '+0 days') = substr(revoked_at, 1, 10) AND substr(revoked_at, 12, 2) < '24'),
  CONSTRAINT ck_service_keys_secret_is_hashed CHECK (length(secret_hash) = 64),
  CONSTRAINT ck_service_keys_revocation_is_named CHECK ((revoked_at IS NULL) = (revoked_by = '')),
  CONSTRAINT fk_service_keys_user_id FOREIGN KEY(user_id) REFERENCES users (user_id)
)
--;
CREATE INDEX ix_service_keys_hot ON service_keys (user_id)
