-- What each endpoint showed and heard back (SAF-4), for SQLite. Frozen. Statements are parted by lines that say "--;".
CREATE TABLE wire_records (
  wire_id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
  pump_id VARCHAR(40) COLLATE "NOCASE" NOT NULL,
  station_id VARCHAR(40) COLLATE "NOCASE" NOT NULL,
  endpoint TEXT NOT NULL,
  at TEXT NOT NULL,
  accepted_at TEXT,
  epoch_term BIGINT,
  epoch_counter BIGINT,
  sequence BIGINT,
  setpoint_hz DOUBLE NOT NULL,
  remote_enabled BOOLEAN NOT NULL,
  reason TEXT NOT NULL,
  detail TEXT NOT NULL,
  record_id TEXT NOT NULL,
  CONSTRAINT ck_wire_records_at_has_offset CHECK (at IS NULL OR (at GLOB '[12][0-9][0-9][0-9]-[01][0-9]-[0-3][0-9][T ][0-2][0-9]:[0-5][0-9]*Z' OR at GLOB '[12][0-9][0-9][0-9]-[01][0-9]-[0-3][0-9][T ][0-2][0-9]:[0-5][0-9]*[+-][0-9][0-9]:[0-9][0-9]') AND julianday(at) IS NOT NULL AND instr(substr(at, 12), ' ') = 0 AND date(substr(at, 1, 10), '+0 days') = substr(at, 1, 10) AND substr(at, 12, 2) < '24'),
  CONSTRAINT ck_wire_records_accepted_at_has_offset CHECK (accepted_at IS NULL OR (accepted_at GLOB '[12][0-9][0-9][0-9]-[01][0-9]-[0-3][0-9][T ][0-2][0-9]:[0-5][0-9]*Z' OR accepted_at GLOB '[12][0-9][0-9][0-9]-[01][0-9]-[0-3][0-9][T ][0-2][0-9]:[0-5][0-9]*[+-][0-9][0-9]:[0-9][0-9]') AND julianday(accepted_at) IS NOT NULL AND instr(substr(accepted_at, 12), ' ') = 0 AND date(substr(accepted_at, 1, 10), '+0 days') = substr(accepted_at, 1, 10) AND substr(accepted_at, 12, 2) < '24'),
  CONSTRAINT ck_wire_records_remote_enabled_is_flag CHECK (remote_enabled IN (0, 1)),
  CONSTRAINT uq_wire_records_record_id UNIQUE (record_id)
)
--;
CREATE INDEX ix_wire_records_hot ON wire_records (pump_id, julianday(at))
--;
CREATE TRIGGER decisions_stay BEFORE UPDATE ON decisions BEGIN
  SELECT RAISE(ABORT, 'decisions: what was decided and shown never changes');
END
--;
CREATE TRIGGER decisions_are_kept BEFORE DELETE ON decisions
WHEN julianday(OLD.at) > julianday('now') - 1.0
BEGIN
  SELECT RAISE(ABORT, 'decisions: nothing younger than a day is forgotten');
END
--;
CREATE TRIGGER wire_records_stay BEFORE UPDATE ON wire_records BEGIN
  SELECT RAISE(ABORT, 'wire_records: what was decided and shown never changes');
END
--;
CREATE TRIGGER wire_records_are_kept BEFORE DELETE ON wire_records
WHEN julianday(OLD.at) > julianday('now') - 1.0
BEGIN
  SELECT RAISE(ABORT, 'wire_records: nothing younger than a day is forgotten');
END
