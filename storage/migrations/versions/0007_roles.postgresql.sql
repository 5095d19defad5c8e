-- Users are the writer's business alone: the reader, which anybody may have, sees no hash (DAT-2, SEC-1). Frozen.
-- Statements are parted by lines that say "--;".
GRANT SELECT, INSERT ON users, user_sessions, service_keys TO control_writer
--;
GRANT UPDATE (role, enabled, password_hash, password_at, must_change, totp, totp_wanted, totp_step)
  ON users TO control_writer
--;
GRANT UPDATE (seen_at, generation, ended_at, ended_by, end_reason) ON user_sessions TO control_writer
--;
GRANT DELETE ON user_sessions TO control_writer
--;
GRANT UPDATE (revoked_at, revoked_by) ON service_keys TO control_writer
