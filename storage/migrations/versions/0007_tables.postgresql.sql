-- Users, their sessions, keys of service accounts (SEC-1), for PostgreSQL. Frozen.
-- Statements are parted by lines that say "--;".
CREATE TABLE users (
  user_id TEXT NOT NULL,
  kind TEXT NOT NULL,
  role TEXT NOT NULL,
  enabled BOOLEAN DEFAULT true NOT NULL,
  password_hash TEXT DEFAULT '' NOT NULL,
  password_at TIMESTAMP WITH TIME ZONE,
  must_change BOOLEAN DEFAULT false NOT NULL,
  totp TEXT DEFAULT '' NOT NULL,
  totp_wanted TEXT DEFAULT '' NOT NULL,
  totp_step INTEGER DEFAULT '0' NOT NULL,
  created_at TIMESTAMP WITH TIME ZONE NOT NULL,
  created_by TEXT NOT NULL,
  CONSTRAINT pk_users PRIMARY KEY (user_id),
  CONSTRAINT ck_users_password_at_is_finite CHECK (password_at >= '1000-01-01 00:00:00+00' AND password_at < '3000-01-01 00:00:00+00'),
  CONSTRAINT ck_users_created_at_is_finite CHECK (created_at >= '1000-01-01 00:00:00+00' AND created_at < '3000-01-01 00:00:00+00'),
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
  started_at TIMESTAMP WITH TIME ZONE NOT NULL,
  seen_at TIMESTAMP WITH TIME ZONE NOT NULL,
  expires_at TIMESTAMP WITH TIME ZONE NOT NULL,
  source_address TEXT NOT NULL,
  client TEXT DEFAULT '' NOT NULL,
  generation INTEGER DEFAULT '0' NOT NULL,
  ended_at TIMESTAMP WITH TIME ZONE,
  ended_by TEXT DEFAULT '' NOT NULL,
  end_reason TEXT DEFAULT '' NOT NULL,
  CONSTRAINT pk_user_sessions PRIMARY KEY (session_id),
  CONSTRAINT ck_user_sessions_started_at_is_finite CHECK (started_at >= '1000-01-01 00:00:00+00' AND started_at < '3000-01-01 00:00:00+00'),
  CONSTRAINT ck_user_sessions_seen_at_is_finite CHECK (seen_at >= '1000-01-01 00:00:00+00' AND seen_at < '3000-01-01 00:00:00+00'),
  CONSTRAINT ck_user_sessions_expires_at_is_finite CHECK (expires_at >= '1000-01-01 00:00:00+00' AND expires_at < '3000-01-01 00:00:00+00'),
  CONSTRAINT ck_user_sessions_ended_at_is_finite CHECK (ended_at >= '1000-01-01 00:00:00+00' AND ended_at < '3000-01-01 00:00:00+00'),
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
  operations JSONB NOT NULL,
  created_at TIMESTAMP WITH TIME ZONE NOT NULL,
  created_by TEXT NOT NULL,
  expires_at TIMESTAMP WITH TIME ZONE,
  revoked_at TIMESTAMP WITH TIME ZONE,
  revoked_by TEXT DEFAULT '' NOT NULL,
  CONSTRAINT pk_service_keys PRIMARY KEY (key_id),
  CONSTRAINT ck_service_keys_created_at_is_finite CHECK (created_at >= '1000-01-01 00:00:00+00' AND created_at < '3000-01-01 00:00:00+00'),
  CONSTRAINT ck_service_keys_expires_at_is_finite CHECK (expires_at >= '1000-01-01 00:00:00+00' AND expires_at < '3000-01-01 00:00:00+00'),
  CONSTRAINT ck_service_keys_revoked_at_is_finite CHECK (revoked_at >= '1000-01-01 00:00:00+00' AND revoked_at < '3000-01-01 00:00:00+00'),
  CONSTRAINT ck_service_keys_secret_is_hashed CHECK (length(secret_hash) = 64),
  CONSTRAINT ck_service_keys_revocation_is_named CHECK ((revoked_at IS NULL) = (revoked_by = '')),
  CONSTRAINT fk_service_keys_user_id FOREIGN KEY(user_id) REFERENCES users (user_id)
)
--;
CREATE INDEX ix_service_keys_hot ON service_keys (user_id)
