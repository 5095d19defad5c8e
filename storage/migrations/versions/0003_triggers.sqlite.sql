-- What was proposed stays, its end is written once; every limit that ever stood is remembered. For SQLite. Frozen.
-- Statements are parted by lines that say "--;".
CREATE TRIGGER pump_safety_limits_remembered_insert AFTER INSERT ON pump_safety_limits BEGIN
  INSERT INTO pump_safety_limits_history
    (operation, pump_id, version, hard_min_speed_hz, hard_max_speed_hz, level_min_m, level_max_m, level_emergency_high_m, level_emergency_high_reset_m, level_dry_run_m, level_dry_run_reset_m, max_power_kw, max_flow_m3h, min_flow_m3h, max_rate_hz_per_s, max_starts_per_hour, min_run_s, max_run_s, min_rest_s, set_by, set_at, approved_by, approved_at)
    VALUES ('INSERT', NEW.pump_id, NEW.version, NEW.hard_min_speed_hz, NEW.hard_max_speed_hz, NEW.level_min_m, NEW.level_max_m, NEW.level_emergency_high_m, NEW.level_emergency_high_reset_m, NEW.level_dry_run_m, NEW.level_dry_run_reset_m, NEW.max_power_kw, NEW.max_flow_m3h, NEW.min_flow_m3h, NEW.max_rate_hz_per_s, NEW.max_starts_per_hour, NEW.min_run_s, NEW.max_run_s, NEW.min_rest_s, NEW.set_by, NEW.set_at, NEW.approved_by, NEW.approved_at);
END
--;
CREATE TRIGGER pump_safety_limits_remembered_update AFTER UPDATE ON pump_safety_limits BEGIN
  INSERT INTO pump_safety_limits_history
    (operation, pump_id, version, hard_min_speed_hz, hard_max_speed_hz, level_min_m, level_max_m, level_emergency_high_m, level_emergency_high_reset_m, level_dry_run_m, level_dry_run_reset_m, max_power_kw, max_flow_m3h, min_flow_m3h, max_rate_hz_per_s, max_starts_per_hour, min_run_s, max_run_s, min_rest_s, set_by, set_at, approved_by, approved_at)
    VALUES ('UPDATE', NEW.pump_id, NEW.version, NEW.hard_min_speed_hz, NEW.hard_max_speed_hz, NEW.level_min_m, NEW.level_max_m, NEW.level_emergency_high_m, NEW.level_emergency_high_reset_m, NEW.level_dry_run_m, NEW.level_dry_run_reset_m, NEW.max_power_kw, NEW.max_flow_m3h, NEW.min_flow_m3h, NEW.max_rate_hz_per_s, NEW.max_starts_per_hour, NEW.min_run_s, NEW.max_run_s, NEW.min_rest_s, NEW.set_by, NEW.set_at, NEW.approved_by, NEW.approved_at);
END
--;
CREATE TRIGGER pump_safety_limits_remembered_delete AFTER DELETE ON pump_safety_limits BEGIN
  INSERT INTO pump_safety_limits_history
    (operation, pump_id, version, hard_min_speed_hz, hard_max_speed_hz, level_min_m, level_max_m, level_emergency_high_m, level_emergency_high_reset_m, level_dry_run_m, level_dry_run_reset_m, max_power_kw, max_flow_m3h, min_flow_m3h, max_rate_hz_per_s, max_starts_per_hour, min_run_s, max_run_s, min_rest_s, set_by, set_at, approved_by, approved_at)
    VALUES ('DELETE', OLD.pump_id, OLD.version, OLD.hard_min_speed_hz, OLD.hard_max_speed_hz, OLD.level_min_m, OLD.level_max_m, OLD.level_emergency_high_m, OLD.level_emergency_high_reset_m, OLD.level_dry_run_m, OLD.level_dry_run_reset_m, OLD.max_power_kw, OLD.max_flow_m3h, OLD.min_flow_m3h, OLD.max_rate_hz_per_s, OLD.max_starts_per_hour, OLD.min_run_s, OLD.max_run_s, OLD.min_rest_s, OLD.set_by, OLD.set_at, OLD.approved_by, OLD.approved_at);
END
--;
-- The history is appended to, at its end, and nothing else. (REPLACE deletes without asking the DELETE trigger.)
CREATE TRIGGER pump_safety_limits_history_at_end BEFORE INSERT ON pump_safety_limits_history
WHEN EXISTS (SELECT 1 FROM pump_safety_limits_history WHERE history_id = NEW.history_id)
BEGIN
  SELECT RAISE(ABORT, 'pump_safety_limits_history is append-only');
END
--;
CREATE TRIGGER pump_safety_limits_history_no_update BEFORE UPDATE ON pump_safety_limits_history BEGIN
  SELECT RAISE(ABORT, 'pump_safety_limits_history is append-only');
END
--;
CREATE TRIGGER pump_safety_limits_history_no_delete BEFORE DELETE ON pump_safety_limits_history BEGIN
  SELECT RAISE(ABORT, 'pump_safety_limits_history is append-only');
END
--;
CREATE TRIGGER pump_limit_proposals_begin BEFORE INSERT ON pump_limit_proposals
WHEN NEW.state <> 'PROPOSED' OR EXISTS (SELECT 1 FROM pump_limit_proposals WHERE proposal_id = NEW.proposal_id)
BEGIN
  SELECT RAISE(ABORT, 'pump_limit_proposals: a proposal begins as PROPOSED, once');
END
--;
CREATE TRIGGER pump_limit_proposals_stay BEFORE UPDATE ON pump_limit_proposals
WHEN NEW.proposal_id IS NOT OLD.proposal_id OR NEW.pump_id IS NOT OLD.pump_id OR NEW.base_version IS NOT OLD.base_version
  OR NEW.changes IS NOT OLD.changes OR NEW.reason IS NOT OLD.reason OR NEW.proposed_by IS NOT OLD.proposed_by
  OR NEW.proposed_at IS NOT OLD.proposed_at OR NEW.expires_at IS NOT OLD.expires_at OR NEW.source_address IS NOT OLD.source_address
BEGIN
  SELECT RAISE(ABORT, 'pump_limit_proposals: what was proposed, by whom, when and why never changes');
END
--;
CREATE TRIGGER pump_limit_proposals_end_stays BEFORE UPDATE ON pump_limit_proposals
WHEN OLD.state <> 'PROPOSED' AND (NEW.state IS NOT OLD.state OR NEW.closed_by IS NOT OLD.closed_by OR NEW.closed_at IS NOT OLD.closed_at
  OR NEW.close_reason IS NOT OLD.close_reason OR NEW.version IS NOT OLD.version)
BEGIN
  SELECT RAISE(ABORT, 'pump_limit_proposals: an end is written once, and never removed or changed');
END
--;
CREATE TRIGGER pump_limit_proposals_no_delete BEFORE DELETE ON pump_limit_proposals BEGIN
  SELECT RAISE(ABORT, 'pump_limit_proposals: a proposal is kept for ever');
END
