-- The tables of the first version, frozen: a change of the models is another migration, never an edit here.
-- Statements are parted by lines that say "--;".
CREATE TABLE alarms (
  alarm_id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
  condition TEXT NOT NULL,
  subject TEXT NOT NULL,
  severity TEXT NOT NULL,
  text TEXT NOT NULL,
  raised_at TEXT NOT NULL,
  returned_at TEXT,
  record_id TEXT NOT NULL,
  CONSTRAINT ck_alarms_raised_at_has_offset CHECK (raised_at IS NULL OR (raised_at GLOB '[12][0-9][0-9][0-9]-[01][0-9]-[0-3][0-9][T ][0-2][0-9]:[0-5][0-9]*Z' OR raised_at GLOB '[12][0-9][0-9][0-9]-[01][0-9]-[0-3][0-9][T ][0-2][0-9]:[0-5][0-9]*[+-][0-9][0-9]:[0-9][0-9]') AND julianday(raised_at) IS NOT NULL AND instr(substr(raised_at, 12), ' ') = 0 AND date(substr(raised_at, 1, 10), '+0 days') = substr(raised_at, 1, 10) AND substr(raised_at, 12, 2) < '24'),
  CONSTRAINT ck_alarms_returned_at_has_offset CHECK (returned_at IS NULL OR (returned_at GLOB '[12][0-9][0-9][0-9]-[01][0-9]-[0-3][0-9][T ][0-2][0-9]:[0-5][0-9]*Z' OR returned_at GLOB '[12][0-9][0-9][0-9]-[01][0-9]-[0-3][0-9][T ][0-2][0-9]:[0-5][0-9]*[+-][0-9][0-9]:[0-9][0-9]') AND julianday(returned_at) IS NOT NULL AND instr(substr(returned_at, 12), ' ') = 0 AND date(substr(returned_at, 1, 10), '+0 days') = substr(returned_at, 1, 10) AND substr(returned_at, 12, 2) < '24'),
  CONSTRAINT ck_alarms_severity_is_known CHECK (severity IN ('LOW', 'MEDIUM', 'HIGH', 'CRITICAL')),
  CONSTRAINT uq_alarms_record_id UNIQUE (record_id)
)
--;
CREATE INDEX ix_alarms_hot ON alarms (julianday(raised_at))
--;
CREATE TABLE audit_log (
  sequence INTEGER NOT NULL,
  at TEXT NOT NULL,
  event_type TEXT NOT NULL,
  actor TEXT NOT NULL,
  source_address TEXT NOT NULL,
  object_id TEXT NOT NULL,
  outcome TEXT NOT NULL,
  severity TEXT NOT NULL,
  "before" TEXT,
  "after" TEXT,
  correlation_id TEXT DEFAULT '' NOT NULL,
  record_id TEXT NOT NULL,
  previous_hash TEXT NOT NULL,
  hash TEXT NOT NULL,
  CONSTRAINT pk_audit_log PRIMARY KEY (sequence),
  CONSTRAINT ck_audit_log_at_has_offset CHECK (at IS NULL OR (at GLOB '[12][0-9][0-9][0-9]-[01][0-9]-[0-3][0-9][T ][0-2][0-9]:[0-5][0-9]*Z' OR at GLOB '[12][0-9][0-9][0-9]-[01][0-9]-[0-3][0-9][T ][0-2][0-9]:[0-5][0-9]*[+-][0-9][0-9]:[0-9][0-9]') AND julianday(at) IS NOT NULL AND instr(substr(at, 12), ' ') = 0 AND date(substr(at, 1, 10), '+0 days') = substr(at, 1, 10) AND substr(at, 12, 2) < '24'),
  CONSTRAINT ck_audit_log_severity_is_known CHECK (severity IN ('LOW', 'MEDIUM', 'HIGH', 'CRITICAL')),
  CONSTRAINT ck_audit_log_sequence_positive CHECK (sequence >= 1),
  CONSTRAINT uq_audit_log_record_id UNIQUE (record_id),
  CONSTRAINT uq_audit_log_hash UNIQUE (hash)
)
--;
CREATE INDEX ix_audit_log_event_type ON audit_log (event_type)
--;
CREATE INDEX ix_audit_log_hot ON audit_log (julianday(at))
--;
CREATE TABLE decisions (
  decision_id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
  pump_id VARCHAR(40) COLLATE "NOCASE" NOT NULL,
  station_id VARCHAR(40) COLLATE "NOCASE" NOT NULL,
  at TEXT NOT NULL,
  plan_id INTEGER,
  epoch_term BIGINT NOT NULL,
  epoch_counter BIGINT NOT NULL,
  sequence BIGINT NOT NULL,
  limits_version INTEGER,
  setpoint_hz DOUBLE NOT NULL,
  remote_enabled BOOLEAN NOT NULL,
  reason TEXT NOT NULL,
  trail TEXT NOT NULL,
  record_id TEXT NOT NULL,
  CONSTRAINT ck_decisions_at_has_offset CHECK (at IS NULL OR (at GLOB '[12][0-9][0-9][0-9]-[01][0-9]-[0-3][0-9][T ][0-2][0-9]:[0-5][0-9]*Z' OR at GLOB '[12][0-9][0-9][0-9]-[01][0-9]-[0-3][0-9][T ][0-2][0-9]:[0-5][0-9]*[+-][0-9][0-9]:[0-9][0-9]') AND julianday(at) IS NOT NULL AND instr(substr(at, 12), ' ') = 0 AND date(substr(at, 1, 10), '+0 days') = substr(at, 1, 10) AND substr(at, 12, 2) < '24'),
  CONSTRAINT ck_decisions_remote_enabled_is_flag CHECK (remote_enabled IN (0, 1)),
  CONSTRAINT uq_decisions_record_id UNIQUE (record_id)
)
--;
CREATE INDEX ix_decisions_hot ON decisions (pump_id, julianday(at))
--;
CREATE TABLE emergency_stop_events (
  stop_id TEXT NOT NULL,
  scope TEXT NOT NULL,
  scope_id VARCHAR(40) COLLATE "NOCASE" NOT NULL,
  reason TEXT NOT NULL,
  set_by TEXT NOT NULL,
  set_at TEXT NOT NULL,
  cleared_by TEXT,
  cleared_at TEXT,
  clear_reason TEXT,
  kind TEXT DEFAULT 'emergency_stop' NOT NULL,
  set_stamp BIGINT DEFAULT '0' NOT NULL,
  release BIGINT,
  CONSTRAINT pk_emergency_stop_events PRIMARY KEY (stop_id),
  CONSTRAINT ck_emergency_stop_events_set_at_has_offset CHECK (set_at IS NULL OR (set_at GLOB '[12][0-9][0-9][0-9]-[01][0-9]-[0-3][0-9][T ][0-2][0-9]:[0-5][0-9]*Z' OR set_at GLOB '[12][0-9][0-9][0-9]-[01][0-9]-[0-3][0-9][T ][0-2][0-9]:[0-5][0-9]*[+-][0-9][0-9]:[0-9][0-9]') AND julianday(set_at) IS NOT NULL AND instr(substr(set_at, 12), ' ') = 0 AND date(substr(set_at, 1, 10), '+0 days') = substr(set_at, 1, 10) AND substr(set_at, 12, 2) < '24'),
  CONSTRAINT ck_emergency_stop_events_cleared_at_has_offset CHECK (cleared_at IS NULL OR (cleared_at GLOB '[12][0-9][0-9][0-9]-[01][0-9]-[0-3][0-9][T ][0-2][0-9]:[0-5][0-9]*Z' OR cleared_at GLOB '[12][0-9][0-9][0-9]-[01][0-9]-[0-3][0-9][T ][0-2][0-9]:[0-5][0-9]*[+-][0-9][0-9]:[0-9][0-9]') AND julianday(cleared_at) IS NOT NULL AND instr(substr(cleared_at, 12), ' ') = 0 AND date(substr(cleared_at, 1, 10), '+0 days') = substr(cleared_at, 1, 10) AND substr(cleared_at, 12, 2) < '24'),
  CONSTRAINT ck_emergency_stop_events_scope_is_known CHECK (scope IN ('PUMP', 'STATION', 'SITE', 'SYSTEM')),
  CONSTRAINT ck_emergency_stop_events_kind_is_known CHECK (kind IN ('emergency_stop', 'out_of_service')),
  CONSTRAINT ck_emergency_stop_events_clear_is_whole CHECK ((cleared_by IS NULL) = (cleared_at IS NULL))
)
--;
CREATE INDEX ix_emergency_stop_events_hot ON emergency_stop_events (julianday(set_at))
--;
CREATE TABLE failsafe_events (
  event_id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
  scope TEXT NOT NULL,
  scope_id VARCHAR(40) COLLATE "NOCASE" NOT NULL,
  reason TEXT NOT NULL,
  started_at TEXT NOT NULL,
  ended_at TEXT,
  detail TEXT NOT NULL,
  record_id TEXT NOT NULL,
  CONSTRAINT ck_failsafe_events_started_at_has_offset CHECK (started_at IS NULL OR (started_at GLOB '[12][0-9][0-9][0-9]-[01][0-9]-[0-3][0-9][T ][0-2][0-9]:[0-5][0-9]*Z' OR started_at GLOB '[12][0-9][0-9][0-9]-[01][0-9]-[0-3][0-9][T ][0-2][0-9]:[0-5][0-9]*[+-][0-9][0-9]:[0-9][0-9]') AND julianday(started_at) IS NOT NULL AND instr(substr(started_at, 12), ' ') = 0 AND date(substr(started_at, 1, 10), '+0 days') = substr(started_at, 1, 10) AND substr(started_at, 12, 2) < '24'),
  CONSTRAINT ck_failsafe_events_ended_at_has_offset CHECK (ended_at IS NULL OR (ended_at GLOB '[12][0-9][0-9][0-9]-[01][0-9]-[0-3][0-9][T ][0-2][0-9]:[0-5][0-9]*Z' OR ended_at GLOB '[12][0-9][0-9][0-9]-[01][0-9]-[0-3][0-9][T ][0-2][0-9]:[0-5][0-9]*[+-][0-9][0-9]:[0-9][0-9]') AND julianday(ended_at) IS NOT NULL AND instr(substr(ended_at, 12), ' ') = 0 AND date(substr(ended_at, 1, 10), '+0 days') = substr(ended_at, 1, 10) AND substr(ended_at, 12, 2) < '24'),
  CONSTRAINT ck_failsafe_events_scope_is_known CHECK (scope IN ('PUMP', 'STATION', 'SITE', 'SYSTEM')),
  CONSTRAINT uq_failsafe_events_record_id UNIQUE (record_id)
)
--;
CREATE INDEX ix_failsafe_events_hot ON failsafe_events (scope_id, julianday(started_at))
--;
CREATE TABLE plan_refusals (
  refusal_id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
  plan_id INTEGER NOT NULL,
  pump_id VARCHAR(40) COLLATE "NOCASE" NOT NULL,
  at TEXT NOT NULL,
  reason TEXT NOT NULL,
  value TEXT,
  record_id TEXT NOT NULL,
  CONSTRAINT ck_plan_refusals_at_has_offset CHECK (at IS NULL OR (at GLOB '[12][0-9][0-9][0-9]-[01][0-9]-[0-3][0-9][T ][0-2][0-9]:[0-5][0-9]*Z' OR at GLOB '[12][0-9][0-9][0-9]-[01][0-9]-[0-3][0-9][T ][0-2][0-9]:[0-5][0-9]*[+-][0-9][0-9]:[0-9][0-9]') AND julianday(at) IS NOT NULL AND instr(substr(at, 12), ' ') = 0 AND date(substr(at, 1, 10), '+0 days') = substr(at, 1, 10) AND substr(at, 12, 2) < '24'),
  CONSTRAINT uq_plan_refusals_record_id UNIQUE (record_id)
)
--;
CREATE INDEX ix_plan_refusals_hot ON plan_refusals (pump_id, julianday(at))
--;
CREATE INDEX ix_plan_refusals_plan_id ON plan_refusals (plan_id)
--;
CREATE TABLE safety_limit_violations (
  violation_id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
  pump_id VARCHAR(40) COLLATE "NOCASE" NOT NULL,
  at TEXT NOT NULL,
  "limit" TEXT NOT NULL,
  proposed DOUBLE,
  applied DOUBLE NOT NULL,
  detail TEXT NOT NULL,
  suppressed INTEGER DEFAULT '0' NOT NULL,
  record_id TEXT NOT NULL,
  CONSTRAINT ck_safety_limit_violations_at_has_offset CHECK (at IS NULL OR (at GLOB '[12][0-9][0-9][0-9]-[01][0-9]-[0-3][0-9][T ][0-2][0-9]:[0-5][0-9]*Z' OR at GLOB '[12][0-9][0-9][0-9]-[01][0-9]-[0-3][0-9][T ][0-2][0-9]:[0-5][0-9]*[+-][0-9][0-9]:[0-9][0-9]') AND julianday(at) IS NOT NULL AND instr(substr(at, 12), ' ') = 0 AND date(substr(at, 1, 10), '+0 days') = substr(at, 1, 10) AND substr(at, 12, 2) < '24'),
  CONSTRAINT uq_safety_limit_violations_record_id UNIQUE (record_id)
)
--;
CREATE INDEX ix_safety_limit_violations_hot ON safety_limit_violations (pump_id, julianday(at))
--;
CREATE TABLE sites (
  site_id VARCHAR(40) COLLATE "NOCASE" NOT NULL,
  name TEXT NOT NULL,
  timezone TEXT DEFAULT 'UTC' NOT NULL,
  CONSTRAINT pk_sites PRIMARY KEY (site_id),
  CONSTRAINT ck_sites_site_id_is_id CHECK (site_id GLOB '[a-zA-Z0-9]*' AND site_id NOT GLOB '*[^a-zA-Z0-9_-]*' AND length(site_id) <= 40)
)
--;
CREATE TABLE pump_stations (
  station_id VARCHAR(40) COLLATE "NOCASE" NOT NULL,
  site_id VARCHAR(40) COLLATE "NOCASE" NOT NULL,
  name TEXT NOT NULL,
  latitude DOUBLE,
  longitude DOUBLE,
  timezone TEXT DEFAULT 'UTC' NOT NULL,
  modbus_unit_id INTEGER NOT NULL,
  max_pumps_running INTEGER,
  max_power_kw DOUBLE,
  level_datum TEXT DEFAULT '' NOT NULL,
  has_high_float BOOLEAN DEFAULT 0 NOT NULL,
  active BOOLEAN DEFAULT 1 NOT NULL,
  updated_at TEXT DEFAULT (strftime('%Y-%m-%dT%H:%M:%f', 'now') || '000+00:00') NOT NULL,
  protective_level_age_s DOUBLE DEFAULT '5' NOT NULL,
  stagger_s DOUBLE DEFAULT '5' NOT NULL,
  float_response_max_s DOUBLE DEFAULT '600' NOT NULL,
  high_level_response TEXT DEFAULT 'RUN_PERMITTED' NOT NULL,
  dry_run_outranks_high_level BOOLEAN DEFAULT 1 NOT NULL,
  next_wire_slot INTEGER DEFAULT '0' NOT NULL,
  CONSTRAINT pk_pump_stations PRIMARY KEY (station_id),
  CONSTRAINT uq_pump_stations_site_id_modbus_unit_id UNIQUE (site_id, modbus_unit_id),
  CONSTRAINT ck_pump_stations_station_id_is_id CHECK (station_id GLOB '[a-zA-Z0-9]*' AND station_id NOT GLOB '*[^a-zA-Z0-9_-]*' AND length(station_id) <= 40),
  CONSTRAINT ck_pump_stations_site_id_is_id CHECK (site_id GLOB '[a-zA-Z0-9]*' AND site_id NOT GLOB '*[^a-zA-Z0-9_-]*' AND length(site_id) <= 40),
  CONSTRAINT ck_pump_stations_updated_at_has_offset CHECK (updated_at IS NULL OR (updated_at GLOB '[12][0-9][0-9][0-9]-[01][0-9]-[0-3][0-9][T ][0-2][0-9]:[0-5][0-9]*Z' OR updated_at GLOB '[12][0-9][0-9][0-9]-[01][0-9]-[0-3][0-9][T ][0-2][0-9]:[0-5][0-9]*[+-][0-9][0-9]:[0-9][0-9]') AND julianday(updated_at) IS NOT NULL AND instr(substr(updated_at, 12), ' ') = 0 AND date(substr(updated_at, 1, 10), '+0 days') = substr(updated_at, 1, 10) AND substr(updated_at, 12, 2) < '24'),
  CONSTRAINT ck_pump_stations_has_high_float_is_flag CHECK (has_high_float IN (0, 1)),
  CONSTRAINT ck_pump_stations_active_is_flag CHECK (active IN (0, 1)),
  CONSTRAINT ck_pump_stations_dry_run_outranks_high_level_is_flag CHECK (dry_run_outranks_high_level IN (0, 1)),
  CONSTRAINT ck_pump_stations_modbus_unit_id_is_whole CHECK (typeof(modbus_unit_id) IN ('integer', 'null')),
  CONSTRAINT ck_pump_stations_max_pumps_running_is_whole CHECK (typeof(max_pumps_running) IN ('integer', 'null')),
  CONSTRAINT ck_pump_stations_next_wire_slot_is_whole CHECK (typeof(next_wire_slot) IN ('integer', 'null')),
  CONSTRAINT ck_pump_stations_high_level_response_is_known CHECK (high_level_response IN ('RUN_PERMITTED', 'HAND_BACK')),
  CONSTRAINT ck_pump_stations_latitude_in_range CHECK (latitude >= -90 AND latitude <= 90),
  CONSTRAINT ck_pump_stations_longitude_in_range CHECK (longitude >= -180 AND longitude <= 180),
  CONSTRAINT ck_pump_stations_modbus_unit_id_in_range CHECK (modbus_unit_id >= 1 AND modbus_unit_id <= 247),
  CONSTRAINT ck_pump_stations_max_pumps_running_in_range CHECK (max_pumps_running >= 1 AND max_pumps_running <= 1000),
  CONSTRAINT ck_pump_stations_max_power_kw_positive CHECK (max_power_kw > 0 AND max_power_kw <= 1000000000),
  CONSTRAINT ck_pump_stations_protective_level_age_s_in_range CHECK (protective_level_age_s > 0 AND protective_level_age_s <= 60),
  CONSTRAINT ck_pump_stations_stagger_s_in_range CHECK (stagger_s >= 0 AND stagger_s <= 3600),
  CONSTRAINT ck_pump_stations_float_response_max_s_in_range CHECK (float_response_max_s >= 0 AND float_response_max_s <= 86400),
  CONSTRAINT fk_pump_stations_site_id FOREIGN KEY(site_id) REFERENCES sites (site_id)
)
--;
CREATE INDEX ix_pump_stations_site_id ON pump_stations (site_id)
--;
CREATE TABLE optimiser_status (
  station_id VARCHAR(40) COLLATE "NOCASE" NOT NULL,
  heartbeat_at TEXT NOT NULL,
  plan_version INTEGER,
  CONSTRAINT pk_optimiser_status PRIMARY KEY (station_id),
  CONSTRAINT ck_optimiser_status_heartbeat_at_has_offset CHECK (heartbeat_at IS NULL OR (heartbeat_at GLOB '[12][0-9][0-9][0-9]-[01][0-9]-[0-3][0-9][T ][0-2][0-9]:[0-5][0-9]*Z' OR heartbeat_at GLOB '[12][0-9][0-9][0-9]-[01][0-9]-[0-3][0-9][T ][0-2][0-9]:[0-5][0-9]*[+-][0-9][0-9]:[0-9][0-9]') AND julianday(heartbeat_at) IS NOT NULL AND instr(substr(heartbeat_at, 12), ' ') = 0 AND date(substr(heartbeat_at, 1, 10), '+0 days') = substr(heartbeat_at, 1, 10) AND substr(heartbeat_at, 12, 2) < '24'),
  CONSTRAINT ck_optimiser_status_plan_version_is_whole CHECK (typeof(plan_version) IN ('integer', 'null')),
  CONSTRAINT fk_optimiser_status_station_id FOREIGN KEY(station_id) REFERENCES pump_stations (station_id)
)
--;
CREATE TABLE pumps (
  pump_id VARCHAR(40) COLLATE "NOCASE" NOT NULL,
  station_id VARCHAR(40) COLLATE "NOCASE" NOT NULL,
  name TEXT NOT NULL,
  control_type TEXT NOT NULL,
  default_setpoint_hz DOUBLE NOT NULL,
  failsafe_strategy TEXT DEFAULT 'DEFAULT_SETPOINT' NOT NULL,
  emergency_stop_setpoint_hz DOUBLE DEFAULT '0' NOT NULL,
  control_parameters TEXT DEFAULT '{}',
  rated_power_kw DOUBLE,
  rated_flow_m3h DOUBLE,
  rated_speed_hz DOUBLE,
  active BOOLEAN DEFAULT 1 NOT NULL,
  updated_at TEXT DEFAULT (strftime('%Y-%m-%dT%H:%M:%f', 'now') || '000+00:00') NOT NULL,
  wire_slot INTEGER,
  CONSTRAINT pk_pumps PRIMARY KEY (pump_id),
  CONSTRAINT ck_pumps_pump_id_is_id CHECK (pump_id GLOB '[a-zA-Z0-9]*' AND pump_id NOT GLOB '*[^a-zA-Z0-9_-]*' AND length(pump_id) <= 40),
  CONSTRAINT ck_pumps_station_id_is_id CHECK (station_id GLOB '[a-zA-Z0-9]*' AND station_id NOT GLOB '*[^a-zA-Z0-9_-]*' AND length(station_id) <= 40),
  CONSTRAINT ck_pumps_updated_at_has_offset CHECK (updated_at IS NULL OR (updated_at GLOB '[12][0-9][0-9][0-9]-[01][0-9]-[0-3][0-9][T ][0-2][0-9]:[0-5][0-9]*Z' OR updated_at GLOB '[12][0-9][0-9][0-9]-[01][0-9]-[0-3][0-9][T ][0-2][0-9]:[0-5][0-9]*[+-][0-9][0-9]:[0-9][0-9]') AND julianday(updated_at) IS NOT NULL AND instr(substr(updated_at, 12), ' ') = 0 AND date(substr(updated_at, 1, 10), '+0 days') = substr(updated_at, 1, 10) AND substr(updated_at, 12, 2) < '24'),
  CONSTRAINT ck_pumps_active_is_flag CHECK (active IN (0, 1)),
  CONSTRAINT ck_pumps_default_setpoint_hz_is_finite CHECK (default_setpoint_hz >= -1000000000 AND default_setpoint_hz <= 1000000000),
  CONSTRAINT ck_pumps_emergency_stop_setpoint_hz_is_finite CHECK (emergency_stop_setpoint_hz >= -1000000000 AND emergency_stop_setpoint_hz <= 1000000000),
  CONSTRAINT ck_pumps_control_type_is_known CHECK (control_type IN ('DIRECT_SPEED', 'LEVEL_CONTROLLED', 'POWER_CONTROLLED')),
  CONSTRAINT ck_pumps_failsafe_strategy_is_known CHECK (failsafe_strategy IN ('DEFAULT_SETPOINT', 'LEVEL_ON_OFF', 'HOLD_LAST', 'HAND_BACK')),
  CONSTRAINT ck_pumps_default_setpoint_hz_not_negative CHECK (default_setpoint_hz >= 0),
  CONSTRAINT ck_pumps_emergency_stop_setpoint_hz_not_negative CHECK (emergency_stop_setpoint_hz >= 0),
  CONSTRAINT ck_pumps_rated_power_kw_positive CHECK (rated_power_kw > 0 AND rated_power_kw <= 1000000000),
  CONSTRAINT ck_pumps_rated_flow_m3h_positive CHECK (rated_flow_m3h > 0 AND rated_flow_m3h <= 1000000000),
  CONSTRAINT ck_pumps_rated_speed_hz_positive CHECK (rated_speed_hz > 0 AND rated_speed_hz <= 1000),
  CONSTRAINT ck_pumps_wire_slot_in_range CHECK (wire_slot >= 0 AND wire_slot <= 1300),
  CONSTRAINT ck_pumps_control_parameters_is_json CHECK (json_valid(control_parameters)),
  CONSTRAINT fk_pumps_station_id FOREIGN KEY(station_id) REFERENCES pump_stations (station_id)
)
--;
CREATE INDEX ix_pumps_station_id ON pumps (station_id)
--;
CREATE TABLE pump_commissioning_envelopes (
  pump_id VARCHAR(40) COLLATE "NOCASE" NOT NULL,
  min_speed_hz DOUBLE NOT NULL,
  max_speed_hz DOUBLE NOT NULL,
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
  commissioned_by TEXT NOT NULL,
  commissioned_at TEXT DEFAULT (strftime('%Y-%m-%dT%H:%M:%f', 'now') || '000+00:00') NOT NULL,
  CONSTRAINT pk_pump_commissioning_envelopes PRIMARY KEY (pump_id),
  CONSTRAINT ck_pump_commissioning_envelopes_pump_id_is_id CHECK (pump_id GLOB '[a-zA-Z0-9]*' AND pump_id NOT GLOB '*[^a-zA-Z0-9_-]*' AND length(pump_id) <= 40),
  CONSTRAINT ck_pump_commissioning_envelopes_commissioned_at_has_offset CHECK (commissioned_at IS NULL OR (commissioned_at GLOB '[12][0-9][0-9][0-9]-[01][0-9]-[0-3][0-9][T ][0-2][0-9]:[0-5][0-9]*Z' OR commissioned_at GLOB '[12][0-9][0-9][0-9]-[01][0-9]-[0-3][0-9][T ][0-2][0-9]:[0-5][0-9]*[+-][0-9][0-9]:[0-9][0-9]') AND julianday(commissioned_at) IS NOT NULL AND instr(substr(commissioned_at, 12), ' ') = 0 AND date(substr(commissioned_at, 1, 10), '+0 days') = substr(commissioned_at, 1, 10) AND substr(commissioned_at, 12, 2) < '24'),
  CONSTRAINT ck_pump_commissioning_envelopes_min_speed_hz_is_finite CHECK (min_speed_hz >= -1000000000 AND min_speed_hz <= 1000000000),
  CONSTRAINT ck_pump_commissioning_envelopes_max_speed_hz_is_finite CHECK (max_speed_hz >= -1000000000 AND max_speed_hz <= 1000000000),
  CONSTRAINT ck_pump_commissioning_envelopes_level_min_m_is_finite CHECK (level_min_m >= -1000000000 AND level_min_m <= 1000000000),
  CONSTRAINT ck_pump_commissioning_envelopes_level_max_m_is_finite CHECK (level_max_m >= -1000000000 AND level_max_m <= 1000000000),
  CONSTRAINT ck_pump_commissioning_envelopes_level_emergency_high_m_is_finite CHECK (level_emergency_high_m >= -1000000000 AND level_emergency_high_m <= 1000000000),
  CONSTRAINT ck_pump_commissioning_envelopes_level_emergency_high_reset_m_is_finite CHECK (level_emergency_high_reset_m >= -1000000000 AND level_emergency_high_reset_m <= 1000000000),
  CONSTRAINT ck_pump_commissioning_envelopes_level_dry_run_m_is_finite CHECK (level_dry_run_m >= -1000000000 AND level_dry_run_m <= 1000000000),
  CONSTRAINT ck_pump_commissioning_envelopes_level_dry_run_reset_m_is_finite CHECK (level_dry_run_reset_m >= -1000000000 AND level_dry_run_reset_m <= 1000000000),
  CONSTRAINT ck_pump_commissioning_envelopes_max_power_kw_is_finite CHECK (max_power_kw >= -1000000000 AND max_power_kw <= 1000000000),
  CONSTRAINT ck_pump_commissioning_envelopes_max_flow_m3h_is_finite CHECK (max_flow_m3h >= -1000000000 AND max_flow_m3h <= 1000000000),
  CONSTRAINT ck_pump_commissioning_envelopes_min_flow_m3h_is_finite CHECK (min_flow_m3h >= -1000000000 AND min_flow_m3h <= 1000000000),
  CONSTRAINT ck_pump_commissioning_envelopes_max_rate_hz_per_s_is_finite CHECK (max_rate_hz_per_s >= -1000000000 AND max_rate_hz_per_s <= 1000000000),
  CONSTRAINT ck_pump_commissioning_envelopes_max_starts_per_hour_is_finite CHECK (max_starts_per_hour >= -1000000000 AND max_starts_per_hour <= 1000000000),
  CONSTRAINT ck_pump_commissioning_envelopes_min_run_s_is_finite CHECK (min_run_s >= -1000000000 AND min_run_s <= 1000000000),
  CONSTRAINT ck_pump_commissioning_envelopes_max_run_s_is_finite CHECK (max_run_s >= -1000000000 AND max_run_s <= 1000000000),
  CONSTRAINT ck_pump_commissioning_envelopes_min_rest_s_is_finite CHECK (min_rest_s >= -1000000000 AND min_rest_s <= 1000000000),
  CONSTRAINT ck_pump_commissioning_envelopes_speed_band CHECK (min_speed_hz > 0 AND min_speed_hz < max_speed_hz),
  CONSTRAINT fk_pump_commissioning_envelopes_pump_id FOREIGN KEY(pump_id) REFERENCES pumps (pump_id)
)
--;
CREATE TABLE pump_feedback (
  feedback_id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
  pump_id VARCHAR(40) COLLATE "NOCASE" NOT NULL,
  measured_at TEXT NOT NULL,
  actual_speed_hz DOUBLE,
  actual_power_kw DOUBLE,
  actual_flow_m3h DOUBLE,
  wet_well_level_m DOUBLE,
  running BOOLEAN,
  local_override BOOLEAN,
  high_float BOOLEAN,
  fault_code INTEGER,
  quality TEXT DEFAULT 'GOOD' NOT NULL,
  source TEXT DEFAULT 'foreign' NOT NULL,
  record_id TEXT,
  CONSTRAINT ck_pump_feedback_measured_at_has_offset CHECK (measured_at IS NULL OR (measured_at GLOB '[12][0-9][0-9][0-9]-[01][0-9]-[0-3][0-9][T ][0-2][0-9]:[0-5][0-9]*Z' OR measured_at GLOB '[12][0-9][0-9][0-9]-[01][0-9]-[0-3][0-9][T ][0-2][0-9]:[0-5][0-9]*[+-][0-9][0-9]:[0-9][0-9]') AND julianday(measured_at) IS NOT NULL AND instr(substr(measured_at, 12), ' ') = 0 AND date(substr(measured_at, 1, 10), '+0 days') = substr(measured_at, 1, 10) AND substr(measured_at, 12, 2) < '24'),
  CONSTRAINT ck_pump_feedback_actual_speed_hz_is_number CHECK (typeof(actual_speed_hz) IN ('real', 'integer', 'null')),
  CONSTRAINT ck_pump_feedback_actual_power_kw_is_number CHECK (typeof(actual_power_kw) IN ('real', 'integer', 'null')),
  CONSTRAINT ck_pump_feedback_actual_flow_m3h_is_number CHECK (typeof(actual_flow_m3h) IN ('real', 'integer', 'null')),
  CONSTRAINT ck_pump_feedback_wet_well_level_m_is_number CHECK (typeof(wet_well_level_m) IN ('real', 'integer', 'null')),
  CONSTRAINT ck_pump_feedback_running_is_flag CHECK (running IN (0, 1)),
  CONSTRAINT ck_pump_feedback_local_override_is_flag CHECK (local_override IN (0, 1)),
  CONSTRAINT ck_pump_feedback_high_float_is_flag CHECK (high_float IN (0, 1)),
  CONSTRAINT ck_pump_feedback_fault_code_is_whole CHECK (typeof(fault_code) IN ('integer', 'null')),
  CONSTRAINT fk_pump_feedback_pump_id FOREIGN KEY(pump_id) REFERENCES pumps (pump_id),
  CONSTRAINT uq_pump_feedback_record_id UNIQUE (record_id)
)
--;
CREATE INDEX ix_pump_feedback_foreign ON pump_feedback (pump_id, julianday(measured_at)) WHERE substr(source, 1, 7) <> 'calejo:'
--;
CREATE INDEX ix_pump_feedback_hot ON pump_feedback (pump_id, julianday(measured_at))
--;
CREATE TABLE pump_plans (
  plan_id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
  station_id VARCHAR(40) COLLATE "NOCASE" NOT NULL,
  pump_id VARCHAR(40) COLLATE "NOCASE" NOT NULL,
  interval_start TEXT NOT NULL,
  interval_end TEXT NOT NULL,
  suggested_speed_hz DOUBLE,
  target_flow_m3h DOUBLE,
  target_level_m DOUBLE,
  target_power_kw DOUBLE,
  plan_version INTEGER NOT NULL,
  created_at TEXT DEFAULT (strftime('%Y-%m-%dT%H:%M:%f', 'now') || '000+00:00') NOT NULL,
  CONSTRAINT ck_pump_plans_interval_start_has_offset CHECK (interval_start IS NULL OR (interval_start GLOB '[12][0-9][0-9][0-9]-[01][0-9]-[0-3][0-9][T ][0-2][0-9]:[0-5][0-9]*Z' OR interval_start GLOB '[12][0-9][0-9][0-9]-[01][0-9]-[0-3][0-9][T ][0-2][0-9]:[0-5][0-9]*[+-][0-9][0-9]:[0-9][0-9]') AND julianday(interval_start) IS NOT NULL AND instr(substr(interval_start, 12), ' ') = 0 AND date(substr(interval_start, 1, 10), '+0 days') = substr(interval_start, 1, 10) AND substr(interval_start, 12, 2) < '24'),
  CONSTRAINT ck_pump_plans_interval_end_has_offset CHECK (interval_end IS NULL OR (interval_end GLOB '[12][0-9][0-9][0-9]-[01][0-9]-[0-3][0-9][T ][0-2][0-9]:[0-5][0-9]*Z' OR interval_end GLOB '[12][0-9][0-9][0-9]-[01][0-9]-[0-3][0-9][T ][0-2][0-9]:[0-5][0-9]*[+-][0-9][0-9]:[0-9][0-9]') AND julianday(interval_end) IS NOT NULL AND instr(substr(interval_end, 12), ' ') = 0 AND date(substr(interval_end, 1, 10), '+0 days') = substr(interval_end, 1, 10) AND substr(interval_end, 12, 2) < '24'),
  CONSTRAINT ck_pump_plans_created_at_has_offset CHECK (created_at IS NULL OR (created_at GLOB '[12][0-9][0-9][0-9]-[01][0-9]-[0-3][0-9][T ][0-2][0-9]:[0-5][0-9]*Z' OR created_at GLOB '[12][0-9][0-9][0-9]-[01][0-9]-[0-3][0-9][T ][0-2][0-9]:[0-5][0-9]*[+-][0-9][0-9]:[0-9][0-9]') AND julianday(created_at) IS NOT NULL AND instr(substr(created_at, 12), ' ') = 0 AND date(substr(created_at, 1, 10), '+0 days') = substr(created_at, 1, 10) AND substr(created_at, 12, 2) < '24'),
  CONSTRAINT ck_pump_plans_suggested_speed_hz_is_number CHECK (typeof(suggested_speed_hz) IN ('real', 'integer', 'null')),
  CONSTRAINT ck_pump_plans_target_flow_m3h_is_number CHECK (typeof(target_flow_m3h) IN ('real', 'integer', 'null')),
  CONSTRAINT ck_pump_plans_target_level_m_is_number CHECK (typeof(target_level_m) IN ('real', 'integer', 'null')),
  CONSTRAINT ck_pump_plans_target_power_kw_is_number CHECK (typeof(target_power_kw) IN ('real', 'integer', 'null')),
  CONSTRAINT ck_pump_plans_plan_version_is_whole CHECK (typeof(plan_version) IN ('integer', 'null')),
  CONSTRAINT fk_pump_plans_station_id FOREIGN KEY(station_id) REFERENCES pump_stations (station_id),
  CONSTRAINT fk_pump_plans_pump_id FOREIGN KEY(pump_id) REFERENCES pumps (pump_id)
)
--;
CREATE INDEX ix_pump_plans_backwards ON pump_plans (station_id, julianday(interval_start)) WHERE julianday(interval_end) <= julianday(interval_start)
--;
CREATE INDEX ix_pump_plans_hot ON pump_plans (station_id, julianday(interval_end))
--;
CREATE INDEX ix_pump_plans_pump_id ON pump_plans (pump_id)
--;
CREATE TABLE pump_safety_limits (
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
  max_rate_hz_per_s DOUBLE NOT NULL,
  max_starts_per_hour INTEGER,
  min_run_s DOUBLE,
  max_run_s DOUBLE,
  min_rest_s DOUBLE,
  set_by TEXT NOT NULL,
  set_at TEXT DEFAULT (strftime('%Y-%m-%dT%H:%M:%f', 'now') || '000+00:00') NOT NULL,
  approved_by TEXT,
  approved_at TEXT,
  CONSTRAINT pk_pump_safety_limits PRIMARY KEY (pump_id, version),
  CONSTRAINT ck_pump_safety_limits_pump_id_is_id CHECK (pump_id GLOB '[a-zA-Z0-9]*' AND pump_id NOT GLOB '*[^a-zA-Z0-9_-]*' AND length(pump_id) <= 40),
  CONSTRAINT ck_pump_safety_limits_set_at_has_offset CHECK (set_at IS NULL OR (set_at GLOB '[12][0-9][0-9][0-9]-[01][0-9]-[0-3][0-9][T ][0-2][0-9]:[0-5][0-9]*Z' OR set_at GLOB '[12][0-9][0-9][0-9]-[01][0-9]-[0-3][0-9][T ][0-2][0-9]:[0-5][0-9]*[+-][0-9][0-9]:[0-9][0-9]') AND julianday(set_at) IS NOT NULL AND instr(substr(set_at, 12), ' ') = 0 AND date(substr(set_at, 1, 10), '+0 days') = substr(set_at, 1, 10) AND substr(set_at, 12, 2) < '24'),
  CONSTRAINT ck_pump_safety_limits_approved_at_has_offset CHECK (approved_at IS NULL OR (approved_at GLOB '[12][0-9][0-9][0-9]-[01][0-9]-[0-3][0-9][T ][0-2][0-9]:[0-5][0-9]*Z' OR approved_at GLOB '[12][0-9][0-9][0-9]-[01][0-9]-[0-3][0-9][T ][0-2][0-9]:[0-5][0-9]*[+-][0-9][0-9]:[0-9][0-9]') AND julianday(approved_at) IS NOT NULL AND instr(substr(approved_at, 12), ' ') = 0 AND date(substr(approved_at, 1, 10), '+0 days') = substr(approved_at, 1, 10) AND substr(approved_at, 12, 2) < '24'),
  CONSTRAINT ck_pump_safety_limits_hard_min_speed_hz_is_finite CHECK (hard_min_speed_hz >= -1000000000 AND hard_min_speed_hz <= 1000000000),
  CONSTRAINT ck_pump_safety_limits_hard_max_speed_hz_is_finite CHECK (hard_max_speed_hz >= -1000000000 AND hard_max_speed_hz <= 1000000000),
  CONSTRAINT ck_pump_safety_limits_level_min_m_is_finite CHECK (level_min_m >= -1000000000 AND level_min_m <= 1000000000),
  CONSTRAINT ck_pump_safety_limits_level_max_m_is_finite CHECK (level_max_m >= -1000000000 AND level_max_m <= 1000000000),
  CONSTRAINT ck_pump_safety_limits_level_emergency_high_m_is_finite CHECK (level_emergency_high_m >= -1000000000 AND level_emergency_high_m <= 1000000000),
  CONSTRAINT ck_pump_safety_limits_level_emergency_high_reset_m_is_finite CHECK (level_emergency_high_reset_m >= -1000000000 AND level_emergency_high_reset_m <= 1000000000),
  CONSTRAINT ck_pump_safety_limits_level_dry_run_m_is_finite CHECK (level_dry_run_m >= -1000000000 AND level_dry_run_m <= 1000000000),
  CONSTRAINT ck_pump_safety_limits_level_dry_run_reset_m_is_finite CHECK (level_dry_run_reset_m >= -1000000000 AND level_dry_run_reset_m <= 1000000000),
  CONSTRAINT ck_pump_safety_limits_max_power_kw_is_finite CHECK (max_power_kw >= -1000000000 AND max_power_kw <= 1000000000),
  CONSTRAINT ck_pump_safety_limits_max_flow_m3h_is_finite CHECK (max_flow_m3h >= -1000000000 AND max_flow_m3h <= 1000000000),
  CONSTRAINT ck_pump_safety_limits_min_flow_m3h_is_finite CHECK (min_flow_m3h >= -1000000000 AND min_flow_m3h <= 1000000000),
  CONSTRAINT ck_pump_safety_limits_max_rate_hz_per_s_is_finite CHECK (max_rate_hz_per_s >= -1000000000 AND max_rate_hz_per_s <= 1000000000),
  CONSTRAINT ck_pump_safety_limits_max_starts_per_hour_is_finite CHECK (max_starts_per_hour >= -1000000000 AND max_starts_per_hour <= 1000000000),
  CONSTRAINT ck_pump_safety_limits_min_run_s_is_finite CHECK (min_run_s >= -1000000000 AND min_run_s <= 1000000000),
  CONSTRAINT ck_pump_safety_limits_max_run_s_is_finite CHECK (max_run_s >= -1000000000 AND max_run_s <= 1000000000),
  CONSTRAINT ck_pump_safety_limits_min_rest_s_is_finite CHECK (min_rest_s >= -1000000000 AND min_rest_s <= 1000000000),
  CONSTRAINT ck_pump_safety_limits_version_is_whole CHECK (typeof(version) IN ('integer', 'null')),
  CONSTRAINT ck_pump_safety_limits_max_starts_per_hour_is_whole CHECK (typeof(max_starts_per_hour) IN ('integer', 'null')),
  CONSTRAINT ck_pump_safety_limits_version_positive CHECK (version >= 1),
  CONSTRAINT ck_pump_safety_limits_speed_band CHECK (hard_min_speed_hz > 0 AND hard_min_speed_hz < hard_max_speed_hz),
  CONSTRAINT ck_pump_safety_limits_max_rate_hz_per_s_positive CHECK (max_rate_hz_per_s > 0),
  CONSTRAINT ck_pump_safety_limits_level_dry_run_m_below_min_m CHECK (level_dry_run_m < level_min_m),
  CONSTRAINT ck_pump_safety_limits_level_dry_run_m_below_max_m CHECK (level_dry_run_m < level_max_m),
  CONSTRAINT ck_pump_safety_limits_level_dry_run_m_below_emergency_high_m CHECK (level_dry_run_m < level_emergency_high_m),
  CONSTRAINT ck_pump_safety_limits_level_min_m_below_max_m CHECK (level_min_m < level_max_m),
  CONSTRAINT ck_pump_safety_limits_level_min_m_below_emergency_high_m CHECK (level_min_m < level_emergency_high_m),
  CONSTRAINT ck_pump_safety_limits_level_max_m_below_emergency_high_m CHECK (level_max_m < level_emergency_high_m),
  CONSTRAINT ck_pump_safety_limits_dry_run_has_reset CHECK ((level_dry_run_m IS NULL) = (level_dry_run_reset_m IS NULL)),
  CONSTRAINT ck_pump_safety_limits_dry_run_reset_above CHECK (level_dry_run_reset_m > level_dry_run_m),
  CONSTRAINT ck_pump_safety_limits_high_has_reset CHECK ((level_emergency_high_m IS NULL) = (level_emergency_high_reset_m IS NULL)),
  CONSTRAINT ck_pump_safety_limits_high_reset_below CHECK (level_emergency_high_reset_m < level_emergency_high_m),
  CONSTRAINT ck_pump_safety_limits_dry_run_reset_below_high CHECK (level_dry_run_reset_m < level_emergency_high_m),
  CONSTRAINT ck_pump_safety_limits_high_reset_above_dry_run CHECK (level_emergency_high_reset_m > level_dry_run_m),
  CONSTRAINT ck_pump_safety_limits_max_power_kw_positive CHECK (max_power_kw > 0),
  CONSTRAINT ck_pump_safety_limits_max_flow_m3h_positive CHECK (max_flow_m3h > 0),
  CONSTRAINT ck_pump_safety_limits_min_flow_m3h_not_negative CHECK (min_flow_m3h >= 0),
  CONSTRAINT ck_pump_safety_limits_flow_band CHECK (min_flow_m3h < max_flow_m3h),
  CONSTRAINT ck_pump_safety_limits_max_starts_per_hour_positive CHECK (max_starts_per_hour >= 1),
  CONSTRAINT ck_pump_safety_limits_min_run_s_not_negative CHECK (min_run_s >= 0),
  CONSTRAINT ck_pump_safety_limits_max_run_s_positive CHECK (max_run_s > 0),
  CONSTRAINT ck_pump_safety_limits_run_band CHECK (min_run_s < max_run_s),
  CONSTRAINT ck_pump_safety_limits_min_rest_s_not_negative CHECK (min_rest_s >= 0),
  CONSTRAINT ck_pump_safety_limits_set_by_named CHECK (trim(set_by) <> ''),
  CONSTRAINT ck_pump_safety_limits_approved_by_another CHECK (trim(approved_by) <> '' AND lower(trim(approved_by)) <> lower(trim(set_by))),
  CONSTRAINT fk_pump_safety_limits_pump_id FOREIGN KEY(pump_id) REFERENCES pumps (pump_id)
)
