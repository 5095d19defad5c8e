-- Records say how they are hashed and which clauses they serve; a segment that is archived may go, for PostgreSQL.
-- Frozen. Statements are parted by lines that say "--;". No per cent sign may stand here.
ALTER TABLE audit_log ADD COLUMN clauses TEXT NOT NULL DEFAULT ''
--;
ALTER TABLE audit_log ADD COLUMN format INTEGER NOT NULL DEFAULT 1
  CONSTRAINT ck_audit_log_format_positive CHECK (format >= 1)
--;
CREATE TABLE audit_segments (
  last_sequence BIGINT NOT NULL,
  first_sequence BIGINT NOT NULL,
  last_hash TEXT NOT NULL,
  name TEXT NOT NULL,
  sha256 TEXT NOT NULL,
  archived_by TEXT NOT NULL,
  archived_at TIMESTAMP WITH TIME ZONE NOT NULL,
  CONSTRAINT pk_audit_segments PRIMARY KEY (last_sequence),
  CONSTRAINT ck_audit_segments_in_order CHECK (first_sequence >= 1 AND first_sequence <= last_sequence),
  CONSTRAINT ck_audit_segments_archived_at_is_finite CHECK (archived_at >= '1000-01-01 00:00:00+00' AND archived_at < '3000-01-01 00:00:00+00')
)
--;
CREATE FUNCTION calejo_segment_in_line() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF NEW.first_sequence <> (SELECT coalesce(max(last_sequence), 0) + 1 FROM audit_segments)
    OR NEW.last_hash IS DISTINCT FROM (SELECT hash FROM audit_log WHERE sequence = NEW.last_sequence)
    OR NEW.last_sequence >= (SELECT max(sequence) FROM audit_log) THEN
    RAISE EXCEPTION USING ERRCODE = 'check_violation',
      MESSAGE = 'audit_segments is append-only: this segment does not continue the one before';
  END IF;
  RETURN NEW;
END
$$
--;
CREATE TRIGGER a_in_line BEFORE INSERT ON audit_segments FOR EACH ROW EXECUTE FUNCTION calejo_segment_in_line()
--;
CREATE TRIGGER a_append_only BEFORE UPDATE OR DELETE ON audit_segments
  FOR EACH ROW EXECUTE FUNCTION calejo_append_only()
--;
CREATE TRIGGER a_append_only_truncate BEFORE TRUNCATE ON audit_segments
  FOR EACH STATEMENT EXECUTE FUNCTION calejo_append_only()
--;
CREATE FUNCTION calejo_audit_archived() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF TG_OP = 'DELETE' AND OLD.sequence <= (SELECT coalesce(max(last_sequence), 0) FROM audit_segments) THEN
    RETURN OLD;
  END IF;
  RAISE EXCEPTION USING ERRCODE = 'check_violation', MESSAGE = 'audit_log is append-only';
END
$$
--;
DROP TRIGGER a_append_only ON audit_log
--;
CREATE TRIGGER a_append_only BEFORE UPDATE OR DELETE ON audit_log
  FOR EACH ROW EXECUTE FUNCTION calejo_audit_archived()
--;
-- Only the database's owner archives: the writer's login, which serves the network, can delete nothing.
GRANT SELECT ON audit_segments TO control_writer
