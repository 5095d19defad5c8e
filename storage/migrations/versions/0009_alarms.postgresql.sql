-- Who has seen an alarm, and when, is written once. What returned before this version waits for nobody. Frozen.
-- Statements are parted by lines that say "--;".
ALTER TABLE alarms ADD COLUMN acknowledged_at TIMESTAMP WITH TIME ZONE
  CONSTRAINT ck_alarms_acknowledged_at_is_finite CHECK (acknowledged_at >= '1000-01-01 00:00:00+00' AND acknowledged_at < '3000-01-01 00:00:00+00')
--;
ALTER TABLE alarms ADD COLUMN acknowledged_by TEXT
--;
ALTER TABLE alarms ADD COLUMN acknowledge_comment TEXT
--;
UPDATE alarms SET acknowledged_at = returned_at, acknowledged_by = 'calejo',
  acknowledge_comment = 'returned before alarms could be acknowledged'
WHERE returned_at IS NOT NULL
--;
CREATE OR REPLACE FUNCTION calejo_alarm_stays() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF (NEW.alarm_id, NEW.condition, NEW.subject, NEW.severity, NEW.text, NEW.raised_at, NEW.record_id)
      IS DISTINCT FROM
      (OLD.alarm_id, OLD.condition, OLD.subject, OLD.severity, OLD.text, OLD.raised_at, OLD.record_id)
    OR (OLD.returned_at IS NOT NULL AND NEW.returned_at IS DISTINCT FROM OLD.returned_at)
    OR (OLD.acknowledged_at IS NOT NULL
      AND (NEW.acknowledged_at, NEW.acknowledged_by, NEW.acknowledge_comment)
        IS DISTINCT FROM (OLD.acknowledged_at, OLD.acknowledged_by, OLD.acknowledge_comment)) THEN
    RAISE EXCEPTION USING ERRCODE = 'check_violation',
      MESSAGE = 'alarms: an alarm never changes, and its end and its acknowledgement are each written once';
  END IF;
  RETURN NEW;
END
$$
--;
CREATE INDEX ix_alarms_unseen ON alarms (raised_at) WHERE acknowledged_at IS NULL
--;
GRANT UPDATE (acknowledged_at, acknowledged_by, acknowledge_comment) ON alarms TO control_writer
