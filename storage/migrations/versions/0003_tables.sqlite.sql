-- Proposals to change limits, and the history of limits (SAF-6), for SQLite. Frozen.
-- Statements are parted by lines that say "--;".
CREATE TABLE pump_limit_proposals (
  proposal_id TEXT NOT NULL,
  pump_id VARCHAR(40) COLLATE "NOCASE" NOT NULL,
  base_version INTEGER NOT NULL,
  changes TEXT NOT NULL,
  reason TEXT NOT NULL,
  proposed_by TEXT NOT NULL,
  proposed_at TEXT NOT NULL,
  expires_at TEXT NOT NULL,
  source_address TEXT DEFAULT '' NOT NULL,
  state TEXT DEFAULT 'PROPOSED' NOT NULL,
  closed_by TEXT,
  closed_at TEXT,
  close_reason TEXT,
  version INTEGER,
  CONSTRAINT pk_pump_limit_proposals PRIMARY KEY (proposal_id),
  CONSTRAINT ck_pump_limit_proposals_proposed_at_has_offset CHECK (proposed_at IS NULL OR (proposed_at GLOB '[12][0-9][0-9][0-9]-[01][0-9]-[0-3][0-9][T ][0-2][0-9]:[0-5][0-9]*Z' OR proposed_at GLOB '[12][0-9][0-9][0-9]-[01][0-9]-[0-3][0-9][T ][0-2][0-9]:[0-5][0-9]*[+-][0-9][0-9]:[0-9][0-9]') AND julianday(proposed_at) IS NOT NULL AND instr(substr(proposed_at, 12), ' ') = 0 AND date(substr(proposed_at, 1, 10), '+0 days') = substr(proposed_at, 1, 10) AND substr(proposed_at, 12, 2) < '24'),
  CONSTRAINT ck_pump_limit_proposals_expires_at_has_offset CHECK (expires_at IS NULL OR (expires_at GLOB '[12][0-9][0-9][0-9]-[01][0-9]-[0-3][0-9][T ][0-2][0-9]:[0-5][0-9]*Z' OR expires_at GLOB '[12][0-9][0-9][0-9]-[01][0-9]-[0-3][0-9][T ][0-2][0-9]:[0-5][0-9]*[+-][0-9][0-9]:[0-9][0-9]') AND julianday(expires_at) IS NOT NULL AND instr(substr(expires_at, 12), ' ') = 0 AND date(substr(expires_at, 1, 10), '+0 days') = substr(expires_at, 1, 10) AND substr(expires_at, 12, 2) < '24'),
  CONSTRAINT ck_pump_limit_proposals_closed_at_has_offset CHECK (closed_at IS NULL OR (closed_at GLOB '[12][0-9][0-9][0-9]-[01][0-9]-[0-3][0-9][T ][0-2][0-9]:[0-5][0-9]*Z' OR closed_at GLOB '[12][0-9][0-9][0-9]-[01][0-9]-[0-3][0-9][T ][0-2][0-9]:[0-5][0-9]*[+-][0-9][0-9]:[0-9][0-9]') AND julianday(closed_at) IS NOT NULL AND instr(substr(closed_at, 12), ' ') = 0 AND date(substr(closed_at, 1, 10), '+0 days') = substr(closed_at, 1, 10) AND substr(closed_at, 12, 2) < '24'),
  CONSTRAINT ck_pump_limit_proposals_base_version_is_whole CHECK (typeof(base_version) IN ('integer', 'null')),
  CONSTRAINT ck_pump_limit_proposals_version_is_whole CHECK (typeof(version) IN ('integer', 'null')),
  CONSTRAINT ck_pump_limit_proposals_state_is_known CHECK (state IN ('PROPOSED', 'APPROVED', 'REJECTED', 'WITHDRAWN', 'SUPERSEDED', 'EXPIRED')),
  CONSTRAINT ck_pump_limit_proposals_base_version_not_negative CHECK (base_version >= 0),
  CONSTRAINT ck_pump_limit_proposals_proposed_by_named CHECK (trim(proposed_by) <> ''),
  CONSTRAINT ck_pump_limit_proposals_end_is_whole CHECK ((state = 'PROPOSED') = (closed_at IS NULL)),
  CONSTRAINT ck_pump_limit_proposals_end_is_named CHECK ((state = 'PROPOSED') = (closed_by IS NULL)),
  CONSTRAINT ck_pump_limit_proposals_approved_has_version CHECK ((state = 'APPROVED') = (version IS NOT NULL))
)
--;
CREATE INDEX ix_pump_limit_proposals_hot ON pump_limit_proposals (pump_id, state)
--;
CREATE TABLE pump_safety_limits_history (
  history_id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
  operation TEXT NOT NULL,
  recorded_at TEXT DEFAULT (strftime('%Y-%m-%dT%H:%M:%f', 'now') || '000+00:00') NOT NULL,
  pump_id VARCHAR(40) COLLATE "NOCASE" NOT NULL,
  version INTEGER NOT NULL,
  hard_min_speed_hz DOUBLE NOT NULL,
  hard_max_speed_hz DOUBLE NOT NULL,
  level_min_m DOUBLE,
  level_max_m DOUBLE,
  level_emergency_high_m DOUBLE,
  level_emergency_high_reset_m DOUBLE,
  level_dry_run_m DOUBLE,
  level_dry_run_reset_m DOUBLE,
  max_power_kw DOUBLE,
  max_flow_m3h DOUBLE,
  min_flow_m3h DOUBLE,
  max_rate_hz_per_s DOUBLE,
  max_starts_per_hour INTEGER,
  min_run_s DOUBLE,
  max_run_s DOUBLE,
  min_rest_s DOUBLE,
  set_by TEXT NOT NULL,
  set_at TEXT NOT NULL,
  approved_by TEXT,
  approved_at TEXT,
  CONSTRAINT ck_pump_safety_limits_history_operation_is_known CHECK (operation IN ('KEPT', 'INSERT', 'UPDATE', 'DELETE'))
)
--;
CREATE INDEX ix_pump_safety_limits_history_hot ON pump_safety_limits_history (pump_id, history_id)
--;
-- What stands there today: nobody knows when it was written.
INSERT INTO pump_safety_limits_history
  (operation, pump_id, version, hard_min_speed_hz, hard_max_speed_hz, level_min_m, level_max_m, level_emergency_high_m, level_emergency_high_reset_m, level_dry_run_m, level_dry_run_reset_m, max_power_kw, max_flow_m3h, min_flow_m3h, max_rate_hz_per_s, max_starts_per_hour, min_run_s, max_run_s, min_rest_s, set_by, set_at, approved_by, approved_at)
  SELECT 'KEPT', pump_id, version, hard_min_speed_hz, hard_max_speed_hz, level_min_m, level_max_m, level_emergency_high_m, level_emergency_high_reset_m, level_dry_run_m, level_dry_run_reset_m, max_power_kw, max_flow_m3h, min_flow_m3h, max_rate_hz_per_s, max_starts_per_hour, min_run_s, max_run_s, min_rest_s, set_by, set_at, approved_by, approved_at
  FROM pump_safety_limits ORDER BY pump_id, version
