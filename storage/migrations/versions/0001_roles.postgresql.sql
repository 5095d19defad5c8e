-- The two roles that Calejo works with (DAT-2), without passwords and without login: an administrator grants them to
-- login roles. Roles belong to the whole cluster, so they may be there already. Frozen.
-- Statements are parted by lines that say "--;".
DO $$
DECLARE
  wanted text;
BEGIN
  FOREACH wanted IN ARRAY ARRAY['control_reader', 'control_writer'] LOOP
    IF NOT EXISTS (SELECT 1 FROM pg_roles WHERE rolname = wanted) THEN
      BEGIN
        EXECUTE 'CREATE ROLE ' || quote_ident(wanted) || ' NOLOGIN';
      EXCEPTION WHEN duplicate_object OR unique_violation THEN
        NULL; -- another database of this cluster is migrated at the same time
      END;
    END IF;
    EXECUTE 'GRANT USAGE ON SCHEMA ' || quote_ident(current_schema()) || ' TO ' || quote_ident(wanted);
  END LOOP;
END
$$
--;
GRANT SELECT ON
  sites, pump_stations, pumps, pump_safety_limits, pump_commissioning_envelopes,
  pump_plans, optimiser_status, pump_feedback
  TO control_reader
--;
-- ON CONFLICT and the chain's head need SELECT on what is appended, nothing of it may be changed but what closes it.
GRANT SELECT, INSERT ON
  pump_feedback, plan_refusals, safety_limit_violations, failsafe_events, emergency_stop_events,
  decisions, alarms, audit_log
  TO control_writer
--;
GRANT UPDATE (ended_at, detail) ON failsafe_events TO control_writer
--;
GRANT UPDATE (scope, scope_id, reason, set_by, set_at, kind, set_stamp, cleared_by, cleared_at, clear_reason, release)
  ON emergency_stop_events TO control_writer
--;
GRANT UPDATE (returned_at) ON alarms TO control_writer
--;
-- So that a start with this role can tell whether the schema is the right one.
GRANT SELECT ON alembic_version TO control_writer
