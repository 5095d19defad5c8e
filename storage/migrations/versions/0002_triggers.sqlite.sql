-- What was appended stays; only what closes it is added, for SQLite (see the PostgreSQL file for the reasons). Frozen.
-- Statements are parted by lines that say "--;".
CREATE TRIGGER emergency_stop_events_stay BEFORE UPDATE ON emergency_stop_events
WHEN NEW.stop_id IS NOT OLD.stop_id OR NEW.scope IS NOT OLD.scope OR NEW.scope_id IS NOT OLD.scope_id
  OR NEW.reason IS NOT OLD.reason OR NEW.set_by IS NOT OLD.set_by OR NEW.set_at IS NOT OLD.set_at
  OR NEW.kind IS NOT OLD.kind OR NEW.set_stamp > OLD.set_stamp
BEGIN
  SELECT RAISE(ABORT, 'emergency_stop_events: what was stopped, by whom, when and why never changes');
END
--;
CREATE TRIGGER emergency_stop_events_clear_stays BEFORE UPDATE ON emergency_stop_events
WHEN OLD.cleared_by IS NOT NULL
  AND (NEW.cleared_by IS NOT OLD.cleared_by OR NEW.cleared_at IS NOT OLD.cleared_at
    OR NEW.clear_reason IS NOT OLD.clear_reason OR NEW.release IS NOT OLD.release)
  AND (NEW.cleared_by IS NULL OR NEW.release IS NULL OR NEW.release >= OLD.release)
BEGIN
  SELECT RAISE(ABORT, 'emergency_stop_events: a clear is never taken back or changed');
END
--;
CREATE TRIGGER failsafe_events_stay BEFORE UPDATE ON failsafe_events
WHEN NEW.event_id IS NOT OLD.event_id OR NEW.scope IS NOT OLD.scope OR NEW.scope_id IS NOT OLD.scope_id
  OR NEW.reason IS NOT OLD.reason OR NEW.started_at IS NOT OLD.started_at OR NEW.record_id IS NOT OLD.record_id
BEGIN
  SELECT RAISE(ABORT, 'failsafe_events: what failed, when and why never changes');
END
--;
CREATE TRIGGER failsafe_events_end_stays BEFORE UPDATE ON failsafe_events
WHEN (NEW.ended_at IS NOT OLD.ended_at OR NEW.detail IS NOT OLD.detail)
  AND (OLD.ended_at IS NOT NULL OR NEW.ended_at IS NULL)
BEGIN
  SELECT RAISE(ABORT, 'failsafe_events: an end is written once, and never removed or changed');
END
--;
CREATE TRIGGER alarms_stay BEFORE UPDATE ON alarms
WHEN NEW.alarm_id IS NOT OLD.alarm_id OR NEW.condition IS NOT OLD.condition OR NEW.subject IS NOT OLD.subject
  OR NEW.severity IS NOT OLD.severity OR NEW.text IS NOT OLD.text OR NEW.raised_at IS NOT OLD.raised_at
  OR NEW.record_id IS NOT OLD.record_id
  OR (OLD.returned_at IS NOT NULL AND NEW.returned_at IS NOT OLD.returned_at)
BEGIN
  SELECT RAISE(ABORT, 'alarms: an alarm never changes, and its end is written once');
END
