-- Who has seen an alarm, and when, is written once. What returned before this version waits for nobody. Frozen.
-- Statements are parted by lines that say "--;".
ALTER TABLE alarms ADD COLUMN acknowledged_at TEXT
  CONSTRAINT ck_alarms_acknowledged_at_has_offset CHECK (acknowledged_at IS NULL OR (acknowledged_at GLOB '[12][0-9][0-9][0-9]-[01][0-9]-[0-3][0-9][T ][0-2][0-9]:[0-5][0-9]*Z' OR acknowledged_at GLOB '[12][0-9][0-9][0-9]-[01][0-9]-[0-3][0-9][T ][0-2][0-9]:[0-5][0-9]*[+-][0-9][0-9]:[0-9][0-9]') AND julianday(acknowledged_at) IS NOT NULL AND instr(substr(acknowledged_at, 12), ' ') = 0 AND date(substr(acknowledged_at, 1, 10), '+0 days') = substr(acknowledged_at, 1, 10) AND substr(acknowledged_at, 12, 2) < '24')
--;
ALTER TABLE alarms ADD COLUMN acknowledged_by TEXT
--;
ALTER TABLE alarms ADD COLUMN acknowledge_comment TEXT
--;
UPDATE alarms SET acknowledged_at = returned_at, acknowledged_by = 'calejo',
  acknowledge_comment = 'returned before alarms could be acknowledged'
WHERE returned_at IS NOT NULL
--;
DROP TRIGGER alarms_stay
--;
CREATE TRIGGER alarms_stay BEFORE UPDATE ON alarms
WHEN NEW.alarm_id IS NOT OLD.alarm_id OR NEW.condition IS NOT OLD.condition OR NEW.subject IS NOT OLD.subject
  OR NEW.severity IS NOT OLD.severity OR NEW.text IS NOT OLD.text OR NEW.raised_at IS NOT OLD.raised_at
  OR NEW.record_id IS NOT OLD.record_id
  OR (OLD.returned_at IS NOT NULL AND NEW.returned_at IS NOT OLD.returned_at)
  OR (OLD.acknowledged_at IS NOT NULL AND (NEW.acknowledged_at IS NOT OLD.acknowledged_at
    OR NEW.acknowledged_by IS NOT OLD.acknowledged_by OR NEW.acknowledge_comment IS NOT OLD.acknowledge_comment))
BEGIN
  SELECT RAISE(ABORT, 'alarms: an alarm never changes, and its end and its acknowledgement are each written once');
END
--;
CREATE INDEX ix_alarms_unseen ON alarms (julianday(raised_at)) WHERE acknowledged_at IS NULL
