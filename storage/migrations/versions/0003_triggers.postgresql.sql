-- What was proposed stays, its end is written once; every limit that ever stood is remembered. For PostgreSQL. Frozen.
-- Statements are parted by lines that say "--;". No per cent sign may stand here: the driver would take it for itself.
-- As the owner of the tables: whoever may write limits needs no right to write their history, and gets none.
CREATE FUNCTION calejo_limits_remembered() RETURNS trigger LANGUAGE plpgsql
SECURITY DEFINER SET search_path FROM CURRENT AS $$
BEGIN
  IF TG_OP = 'TRUNCATE' THEN
    INSERT INTO pump_safety_limits_history
      (operation, pump_id, version, hard_min_speed_hz, hard_max_speed_hz, level_min_m, level_max_m, level_emergency_high_m, level_emergency_high_reset_m, level_dry_run_m, level_dry_run_reset_m, max_power_kw, max_flow_m3h, min_flow_m3h, max_rate_hz_per_s, max_starts_per_hour, min_run_s, max_run_s, min_rest_s, set_by, set_at, approved_by, approved_at)
      SELECT 'DELETE', pump_id, version, hard_min_speed_hz, hard_max_speed_hz, level_min_m, level_max_m, level_emergency_high_m, level_emergency_high_reset_m, level_dry_run_m, level_dry_run_reset_m, max_power_kw, max_flow_m3h, min_flow_m3h, max_rate_hz_per_s, max_starts_per_hour, min_run_s, max_run_s, min_rest_s, set_by, set_at, approved_by, approved_at
      FROM pump_safety_limits ORDER BY pump_id, version;
  ELSIF TG_OP = 'DELETE' THEN
    INSERT INTO pump_safety_limits_history
      (operation, pump_id, version, hard_min_speed_hz, hard_max_speed_hz, level_min_m, level_max_m, level_emergency_high_m, level_emergency_high_reset_m, level_dry_run_m, level_dry_run_reset_m, max_power_kw, max_flow_m3h, min_flow_m3h, max_rate_hz_per_s, max_starts_per_hour, min_run_s, max_run_s, min_rest_s, set_by, set_at, approved_by, approved_at)
      VALUES (TG_OP, OLD.pump_id, OLD.version, OLD.hard_min_speed_hz, OLD.hard_max_speed_hz, OLD.level_min_m, OLD.level_max_m, OLD.level_emergency_high_m, OLD.level_emergency_high_reset_m, OLD.level_dry_run_m, OLD.level_dry_run_reset_m, OLD.max_power_kw, OLD.max_flow_m3h, OLD.min_flow_m3h, OLD.max_rate_hz_per_s, OLD.max_starts_per_hour, OLD.min_run_s, OLD.max_run_s, OLD.min_rest_s, OLD.set_by, OLD.set_at, OLD.approved_by, OLD.approved_at);
  ELSE
    INSERT INTO pump_safety_limits_history
      (operation, pump_id, version, hard_min_speed_hz, hard_max_speed_hz, level_min_m, level_max_m, level_emergency_high_m, level_emergency_high_reset_m, level_dry_run_m, level_dry_run_reset_m, max_power_kw, max_flow_m3h, min_flow_m3h, max_rate_hz_per_s, max_starts_per_hour, min_run_s, max_run_s, min_rest_s, set_by, set_at, approved_by, approved_at)
      VALUES (TG_OP, NEW.pump_id, NEW.version, NEW.hard_min_speed_hz, NEW.hard_max_speed_hz, NEW.level_min_m, NEW.level_max_m, NEW.level_emergency_high_m, NEW.level_emergency_high_reset_m, NEW.level_dry_run_m, NEW.level_dry_run_reset_m, NEW.max_power_kw, NEW.max_flow_m3h, NEW.min_flow_m3h, NEW.max_rate_hz_per_s, NEW.max_starts_per_hour, NEW.min_run_s, NEW.max_run_s, NEW.min_rest_s, NEW.set_by, NEW.set_at, NEW.approved_by, NEW.approved_at);
  END IF;
  RETURN NULL;
END
$$
--;
REVOKE EXECUTE ON FUNCTION calejo_limits_remembered() FROM PUBLIC
--;
CREATE TRIGGER y_remembered AFTER INSERT OR UPDATE OR DELETE ON pump_safety_limits
  FOR EACH ROW EXECUTE FUNCTION calejo_limits_remembered()
--;
CREATE TRIGGER y_remembered_truncate BEFORE TRUNCATE ON pump_safety_limits
  FOR EACH STATEMENT EXECUTE FUNCTION calejo_limits_remembered()
--;
CREATE TRIGGER a_append_only BEFORE UPDATE OR DELETE ON pump_safety_limits_history
  FOR EACH ROW EXECUTE FUNCTION calejo_append_only()
--;
CREATE TRIGGER a_append_only_truncate BEFORE TRUNCATE ON pump_safety_limits_history
  FOR EACH STATEMENT EXECUTE FUNCTION calejo_append_only()
--;
CREATE FUNCTION calejo_proposal_stays() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF TG_OP IN ('DELETE', 'TRUNCATE') THEN
    RAISE EXCEPTION USING ERRCODE = 'check_violation',
      MESSAGE = 'pump_limit_proposals: a proposal is kept for ever';
  END IF;
  IF TG_OP = 'INSERT' THEN
    IF NEW.state <> 'PROPOSED' THEN
      RAISE EXCEPTION USING ERRCODE = 'check_violation',
        MESSAGE = 'pump_limit_proposals: a proposal begins as PROPOSED, once';
    END IF;
    RETURN NEW;
  END IF;
  IF (NEW.proposal_id, NEW.pump_id, NEW.base_version, NEW.changes, NEW.reason, NEW.proposed_by, NEW.proposed_at, NEW.expires_at, NEW.source_address)
      IS DISTINCT FROM
      (OLD.proposal_id, OLD.pump_id, OLD.base_version, OLD.changes, OLD.reason, OLD.proposed_by, OLD.proposed_at, OLD.expires_at, OLD.source_address) THEN
    RAISE EXCEPTION USING ERRCODE = 'check_violation',
      MESSAGE = 'pump_limit_proposals: what was proposed, by whom, when and why never changes';
  END IF;
  IF OLD.state <> 'PROPOSED'
    AND (NEW.state, NEW.closed_by, NEW.closed_at, NEW.close_reason, NEW.version)
      IS DISTINCT FROM (OLD.state, OLD.closed_by, OLD.closed_at, OLD.close_reason, OLD.version) THEN
    RAISE EXCEPTION USING ERRCODE = 'check_violation',
      MESSAGE = 'pump_limit_proposals: an end is written once, and never removed or changed';
  END IF;
  RETURN NEW;
END
$$
--;
CREATE TRIGGER a_proposal_stays BEFORE INSERT OR UPDATE OR DELETE ON pump_limit_proposals
  FOR EACH ROW EXECUTE FUNCTION calejo_proposal_stays()
--;
CREATE TRIGGER a_proposal_stays_truncate BEFORE TRUNCATE ON pump_limit_proposals
  FOR EACH STATEMENT EXECUTE FUNCTION calejo_proposal_stays()
