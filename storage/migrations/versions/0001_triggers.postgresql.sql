-- Rules that no check can state, and the notices of changes, for PostgreSQL. Frozen.
-- Statements are parted by lines that say "--;". No per cent sign may stand here: the driver would take it for itself.
CREATE FUNCTION calejo_lower_ids() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  id_column text;
BEGIN
  FOREACH id_column IN ARRAY TG_ARGV LOOP
    NEW := jsonb_populate_record(
      NEW, jsonb_build_object(id_column, lower(to_jsonb(NEW) ->> id_column)));
  END LOOP;
  RETURN NEW;
END
$$
--;
-- A pump's place in its station's register map: the station counts up, whatever the INSERT says, and never back.
CREATE FUNCTION calejo_wire_slot() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF TG_OP = 'UPDATE' AND NEW.station_id = OLD.station_id THEN
    IF NEW.wire_slot IS DISTINCT FROM OLD.wire_slot THEN
      RAISE EXCEPTION USING ERRCODE = 'check_violation',
        MESSAGE = 'pumps.wire_slot is given by the database and never changes';
    END IF;
    RETURN NEW;
  END IF;
  UPDATE pump_stations SET next_wire_slot = next_wire_slot + 1
    WHERE station_id = NEW.station_id
    RETURNING next_wire_slot - 1 INTO NEW.wire_slot;
  RETURN NEW;
END
$$
--;
CREATE TRIGGER b_wire_slot BEFORE INSERT OR UPDATE ON pumps FOR EACH ROW EXECUTE FUNCTION calejo_wire_slot()
--;
CREATE UNIQUE INDEX uq_pumps_station_id_wire_slot ON pumps (station_id, wire_slot)
--;
CREATE FUNCTION calejo_slots_kept() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF NEW.next_wire_slot < OLD.next_wire_slot THEN
    RAISE EXCEPTION USING ERRCODE = 'check_violation',
      MESSAGE = 'pump_stations.next_wire_slot only counts up: no slot is used twice';
  END IF;
  RETURN NEW;
END
$$
--;
CREATE TRIGGER b_slots_kept BEFORE UPDATE ON pump_stations FOR EACH ROW EXECUTE FUNCTION calejo_slots_kept()
--;
CREATE FUNCTION calejo_updated() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF NEW.updated_at = OLD.updated_at THEN
    NEW.updated_at := clock_timestamp();
  END IF;
  RETURN NEW;
END
$$
--;
CREATE TRIGGER c_updated BEFORE UPDATE ON pumps FOR EACH ROW EXECUTE FUNCTION calejo_updated()
--;
CREATE TRIGGER c_updated BEFORE UPDATE ON pump_stations FOR EACH ROW EXECUTE FUNCTION calejo_updated()
--;
CREATE FUNCTION calejo_plans_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF TG_OP <> 'DELETE' THEN
    PERFORM pg_notify('calejo_plans', NEW.station_id);
  END IF;
  IF TG_OP <> 'INSERT' THEN
    PERFORM pg_notify('calejo_plans', OLD.station_id);
  END IF;
  RETURN NULL;
END
$$
--;
CREATE TRIGGER z_noticed AFTER INSERT OR UPDATE OR DELETE ON pump_plans
  FOR EACH ROW EXECUTE FUNCTION calejo_plans_changed()
--;
CREATE FUNCTION calejo_configuration_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  PERFORM pg_notify('calejo_configuration', TG_TABLE_NAME);
  RETURN NULL;
END
$$
--;
-- The audit log is appended to, at its end, and nothing else.
CREATE FUNCTION calejo_audit_in_line() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  last_sequence bigint;
  last_hash text;
BEGIN
  SELECT sequence, hash INTO last_sequence, last_hash FROM audit_log ORDER BY sequence DESC LIMIT 1;
  IF NEW.sequence <> coalesce(last_sequence, 0) + 1
    OR NEW.previous_hash <> coalesce(last_hash, repeat('0', 64)) THEN
    RAISE EXCEPTION USING ERRCODE = 'check_violation',
      MESSAGE = 'audit_log is append-only: this row does not continue the chain';
  END IF;
  RETURN NEW;
END
$$
--;
CREATE TRIGGER a_in_line BEFORE INSERT ON audit_log FOR EACH ROW EXECUTE FUNCTION calejo_audit_in_line()
--;
CREATE FUNCTION calejo_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION USING ERRCODE = 'check_violation', MESSAGE = TG_TABLE_NAME || ' is append-only';
END
$$
--;
CREATE TRIGGER a_append_only BEFORE UPDATE OR DELETE ON audit_log
  FOR EACH ROW EXECUTE FUNCTION calejo_append_only()
--;
CREATE TRIGGER a_append_only_truncate BEFORE TRUNCATE ON audit_log
  FOR EACH STATEMENT EXECUTE FUNCTION calejo_append_only()
--;
CREATE TRIGGER z_noticed AFTER INSERT OR UPDATE OR DELETE ON sites
  FOR EACH STATEMENT EXECUTE FUNCTION calejo_configuration_changed()
--;
CREATE TRIGGER z_noticed AFTER INSERT OR UPDATE OR DELETE ON pump_stations
  FOR EACH STATEMENT EXECUTE FUNCTION calejo_configuration_changed()
--;
CREATE TRIGGER z_noticed AFTER INSERT OR UPDATE OR DELETE ON pumps
  FOR EACH STATEMENT EXECUTE FUNCTION calejo_configuration_changed()
--;
CREATE TRIGGER z_noticed AFTER INSERT OR UPDATE OR DELETE ON pump_safety_limits
  FOR EACH STATEMENT EXECUTE FUNCTION calejo_configuration_changed()
--;
CREATE TRIGGER z_noticed AFTER INSERT OR UPDATE OR DELETE ON pump_commissioning_envelopes
  FOR EACH STATEMENT EXECUTE FUNCTION calejo_configuration_changed()
--;
CREATE TRIGGER a_lower_ids BEFORE INSERT OR UPDATE ON sites
  FOR EACH ROW WHEN (NEW.site_id <> lower(NEW.site_id)) EXECUTE FUNCTION calejo_lower_ids('site_id')
--;
CREATE TRIGGER a_lower_ids BEFORE INSERT OR UPDATE ON pump_stations
  FOR EACH ROW WHEN (NEW.station_id <> lower(NEW.station_id) OR NEW.site_id <> lower(NEW.site_id)) EXECUTE FUNCTION calejo_lower_ids('station_id', 'site_id')
--;
CREATE TRIGGER a_lower_ids BEFORE INSERT OR UPDATE ON pumps
  FOR EACH ROW WHEN (NEW.pump_id <> lower(NEW.pump_id) OR NEW.station_id <> lower(NEW.station_id)) EXECUTE FUNCTION calejo_lower_ids('pump_id', 'station_id')
--;
CREATE TRIGGER a_lower_ids BEFORE INSERT OR UPDATE ON pump_safety_limits
  FOR EACH ROW WHEN (NEW.pump_id <> lower(NEW.pump_id)) EXECUTE FUNCTION calejo_lower_ids('pump_id')
--;
CREATE TRIGGER a_lower_ids BEFORE INSERT OR UPDATE ON pump_commissioning_envelopes
  FOR EACH ROW WHEN (NEW.pump_id <> lower(NEW.pump_id)) EXECUTE FUNCTION calejo_lower_ids('pump_id')
--;
CREATE TRIGGER a_lower_ids BEFORE INSERT OR UPDATE ON pump_plans
  FOR EACH ROW WHEN (NEW.station_id <> lower(NEW.station_id) OR NEW.pump_id <> lower(NEW.pump_id)) EXECUTE FUNCTION calejo_lower_ids('station_id', 'pump_id')
--;
CREATE TRIGGER a_lower_ids BEFORE INSERT OR UPDATE ON optimiser_status
  FOR EACH ROW WHEN (NEW.station_id <> lower(NEW.station_id)) EXECUTE FUNCTION calejo_lower_ids('station_id')
--;
CREATE TRIGGER a_lower_ids BEFORE INSERT OR UPDATE ON pump_feedback
  FOR EACH ROW WHEN (NEW.pump_id <> lower(NEW.pump_id)) EXECUTE FUNCTION calejo_lower_ids('pump_id')
