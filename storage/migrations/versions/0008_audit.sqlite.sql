-- Records say how they are hashed and which clauses they serve; a segment that is archived may go, for SQLite. Frozen.
-- Statements are parted by lines that say "--;".
ALTER TABLE audit_log ADD COLUMN clauses TEXT NOT NULL DEFAULT ''
--;
ALTER TABLE audit_log ADD COLUMN format INTEGER NOT NULL DEFAULT 1
  CONSTRAINT ck_audit_log_format_positive CHECK (format >= 1)
--;
CREATE TABLE audit_segments (
  last_sequence INTEGER NOT NULL,
  first_sequence INTEGER NOT NULL,
  last_hash TEXT NOT NULL,
  name TEXT NOT NULL,
  sha256 TEXT NOT NULL,
  archived_by TEXT NOT NULL,
  archived_at TEXT NOT NULL,
  CONSTRAINT pk_audit_segments PRIMARY KEY (last_sequence),
  CONSTRAINT ck_audit_segments_in_order CHECK (first_sequence >= 1 AND first_sequence <= last_sequence),
  CONSTRAINT ck_audit_segments_archived_at_has_offset CHECK (archived_at IS NULL OR (archived_at GLOB '[12][0-9][0-9][0-9]-[01][0-9]-[0-3][0-9][T ][0-2][0-9]:[0-5][0-9]*Z' OR archived_at GLOB '[12][0-9][0-9][0-9]-[01][0-9]-[0-3][0-9][T ][0-2][0-9]:[0-5][0-9]*[+-][0-9][0-9]:[0-9][0-9]') AND julianday(archived_at) IS NOT NULL AND instr(substr(archived_at, 12), ' ') = 0 AND date(substr(archived_at, 1, 10), '+0 days') = substr(archived_at, 1, 10) AND substr(archived_at, 12, 2) < '24')
)
--;
-- A segment continues the one before, ends in the record that stands there, and is never the end of the chain.
CREATE TRIGGER audit_segments_in_line BEFORE INSERT ON audit_segments
WHEN NEW.first_sequence IS NOT (SELECT coalesce(max(last_sequence), 0) + 1 FROM audit_segments)
  OR NEW.last_hash IS NOT (SELECT hash FROM audit_log WHERE sequence = NEW.last_sequence)
  OR NEW.last_sequence >= (SELECT max(sequence) FROM audit_log)
BEGIN
  SELECT RAISE(ABORT, 'audit_segments is append-only: this segment does not continue the one before');
END
--;
CREATE TRIGGER audit_segments_no_update BEFORE UPDATE ON audit_segments BEGIN
  SELECT RAISE(ABORT, 'audit_segments is append-only');
END
--;
CREATE TRIGGER audit_segments_no_delete BEFORE DELETE ON audit_segments BEGIN
  SELECT RAISE(ABORT, 'audit_segments is append-only');
END
--;
DROP TRIGGER audit_log_no_delete
--;
CREATE TRIGGER audit_log_no_delete BEFORE DELETE ON audit_log
WHEN OLD.sequence > coalesce((SELECT max(last_sequence) FROM audit_segments), 0) BEGIN
  SELECT RAISE(ABORT, 'audit_log is append-only');
END
