-- What was appended stays; only what closes it is added, for PostgreSQL. Whoever the client is. Frozen.
-- Statements are parted by lines that say "--;". No per cent sign may stand here: the driver would take it for itself.
--
-- A stop: who stopped what, when and why never changes. A clear is never taken back; of two clears of one stop the one
-- with the smaller release stays (the union of EST-2), so another may only take its place by that.
CREATE FUNCTION calejo_stop_stays() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF (NEW.stop_id, NEW.scope, NEW.scope_id, NEW.reason, NEW.set_by, NEW.set_at, NEW.kind)
      IS DISTINCT FROM (OLD.stop_id, OLD.scope, OLD.scope_id, OLD.reason, OLD.set_by, OLD.set_at, OLD.kind)
    OR NEW.set_stamp > OLD.set_stamp THEN
    RAISE EXCEPTION USING ERRCODE = 'check_violation',
      MESSAGE = 'emergency_stop_events: what was stopped, by whom, when and why never changes';
  END IF;
  IF OLD.cleared_by IS NOT NULL
    AND (NEW.cleared_by, NEW.cleared_at, NEW.clear_reason, NEW.release)
      IS DISTINCT FROM (OLD.cleared_by, OLD.cleared_at, OLD.clear_reason, OLD.release)
    AND (NEW.cleared_by IS NULL OR NEW.release IS NULL OR NEW.release >= OLD.release) THEN
    RAISE EXCEPTION USING ERRCODE = 'check_violation',
      MESSAGE = 'emergency_stop_events: a clear is never taken back or changed';
  END IF;
  RETURN NEW;
END
$$
--;
CREATE TRIGGER a_stop_stays BEFORE UPDATE ON emergency_stop_events
  FOR EACH ROW EXECUTE FUNCTION calejo_stop_stays()
--;
CREATE FUNCTION calejo_failsafe_stays() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF (NEW.event_id, NEW.scope, NEW.scope_id, NEW.reason, NEW.started_at, NEW.record_id)
      IS DISTINCT FROM (OLD.event_id, OLD.scope, OLD.scope_id, OLD.reason, OLD.started_at, OLD.record_id) THEN
    RAISE EXCEPTION USING ERRCODE = 'check_violation',
      MESSAGE = 'failsafe_events: what failed, when and why never changes';
  END IF;
  IF (NEW.ended_at, NEW.detail) IS DISTINCT FROM (OLD.ended_at, OLD.detail)
    AND (OLD.ended_at IS NOT NULL OR NEW.ended_at IS NULL) THEN
    RAISE EXCEPTION USING ERRCODE = 'check_violation',
      MESSAGE = 'failsafe_events: an end is written once, and never removed or changed';
  END IF;
  RETURN NEW;
END
$$
--;
CREATE TRIGGER a_failsafe_stays BEFORE UPDATE ON failsafe_events
  FOR EACH ROW EXECUTE FUNCTION calejo_failsafe_stays()
--;
CREATE FUNCTION calejo_alarm_stays() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF (NEW.alarm_id, NEW.condition, NEW.subject, NEW.severity, NEW.text, NEW.raised_at, NEW.record_id)
      IS DISTINCT FROM
      (OLD.alarm_id, OLD.condition, OLD.subject, OLD.severity, OLD.text, OLD.raised_at, OLD.record_id)
    OR (OLD.returned_at IS NOT NULL AND NEW.returned_at IS DISTINCT FROM OLD.returned_at) THEN
    RAISE EXCEPTION USING ERRCODE = 'check_violation',
      MESSAGE = 'alarms: an alarm never changes, and its end is written once';
  END IF;
  RETURN NEW;
END
$$
--;
CREATE TRIGGER a_alarm_stays BEFORE UPDATE ON alarms FOR EACH ROW EXECUTE FUNCTION calejo_alarm_stays()
