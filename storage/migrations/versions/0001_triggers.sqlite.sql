-- Rules that no check can state, and the counters by which readers notice changes, for SQLite. Frozen.
-- Statements are parted by lines that say "--;".
CREATE TABLE change_counters (
  channel TEXT NOT NULL PRIMARY KEY,
  value INTEGER NOT NULL DEFAULT 0
)
--;
INSERT INTO change_counters (channel) VALUES ('calejo_plans'), ('calejo_configuration')
--;
-- A pump's place in its station's register map: the station counts up, whatever the INSERT says, and never back.
CREATE TRIGGER pumps_wire_slot_given AFTER INSERT ON pumps BEGIN
  UPDATE pump_stations SET next_wire_slot = next_wire_slot + 1 WHERE station_id = NEW.station_id;
  UPDATE pumps
    SET wire_slot = (SELECT next_wire_slot - 1 FROM pump_stations WHERE station_id = NEW.station_id)
    WHERE pump_id = NEW.pump_id;
END
--;
CREATE TRIGGER pumps_wire_slot_moved AFTER UPDATE OF station_id ON pumps
WHEN NEW.station_id <> OLD.station_id BEGIN
  UPDATE pump_stations SET next_wire_slot = next_wire_slot + 1 WHERE station_id = NEW.station_id;
  UPDATE pumps
    SET wire_slot = (SELECT next_wire_slot - 1 FROM pump_stations WHERE station_id = NEW.station_id)
    WHERE pump_id = NEW.pump_id;
END
--;
CREATE TRIGGER pumps_wire_slot_kept BEFORE UPDATE OF wire_slot ON pumps
WHEN NEW.wire_slot IS NOT OLD.wire_slot
  AND NEW.wire_slot IS NOT (SELECT next_wire_slot - 1 FROM pump_stations WHERE station_id = NEW.station_id)
BEGIN
  SELECT RAISE(ABORT, 'pumps.wire_slot is given by the database and never changes');
END
--;
CREATE TRIGGER pump_stations_slots_kept BEFORE UPDATE OF next_wire_slot ON pump_stations
WHEN NEW.next_wire_slot < OLD.next_wire_slot BEGIN
  SELECT RAISE(ABORT, 'pump_stations.next_wire_slot only counts up: no slot is used twice');
END
--;
-- REPLACE makes a station anew while its pumps keep their slots.
CREATE TRIGGER pump_stations_slots_replaced AFTER INSERT ON pump_stations
WHEN EXISTS (SELECT 1 FROM pumps WHERE station_id = NEW.station_id AND wire_slot >= NEW.next_wire_slot) BEGIN
  UPDATE pump_stations
    SET next_wire_slot = (SELECT max(wire_slot) + 1 FROM pumps WHERE station_id = NEW.station_id)
    WHERE station_id = NEW.station_id;
END
--;
CREATE TRIGGER pumps_updated AFTER UPDATE ON pumps WHEN NEW.updated_at = OLD.updated_at BEGIN
  UPDATE pumps SET updated_at = strftime('%Y-%m-%dT%H:%M:%f', 'now') || '000+00:00' WHERE pump_id = NEW.pump_id;
END
--;
CREATE TRIGGER pump_stations_updated AFTER UPDATE ON pump_stations WHEN NEW.updated_at = OLD.updated_at BEGIN
  UPDATE pump_stations SET updated_at = strftime('%Y-%m-%dT%H:%M:%f', 'now') || '000+00:00'
    WHERE station_id = NEW.station_id;
END
--;
-- The audit log is appended to, at its end, and nothing else. (REPLACE deletes without asking the DELETE trigger.)
CREATE TRIGGER audit_log_in_line BEFORE INSERT ON audit_log
WHEN NEW.sequence IS NOT (SELECT coalesce(max(sequence), 0) + 1 FROM audit_log)
  OR NEW.previous_hash IS NOT coalesce(
    (SELECT hash FROM audit_log ORDER BY sequence DESC LIMIT 1),
    '0000000000000000000000000000000000000000000000000000000000000000')
  OR EXISTS (SELECT 1 FROM audit_log WHERE record_id = NEW.record_id OR hash = NEW.hash)
BEGIN
  SELECT RAISE(ABORT, 'audit_log is append-only: this row does not continue the chain');
END
--;
CREATE TRIGGER audit_log_no_update BEFORE UPDATE ON audit_log BEGIN
  SELECT RAISE(ABORT, 'audit_log is append-only');
END
--;
CREATE TRIGGER audit_log_no_delete BEFORE DELETE ON audit_log BEGIN
  SELECT RAISE(ABORT, 'audit_log is append-only');
END
--;
CREATE TRIGGER pump_plans_noticed_insert AFTER INSERT ON pump_plans BEGIN
  UPDATE change_counters SET value = value + 1 WHERE channel = 'calejo_plans';
END
--;
CREATE TRIGGER pump_plans_noticed_update AFTER UPDATE ON pump_plans BEGIN
  UPDATE change_counters SET value = value + 1 WHERE channel = 'calejo_plans';
END
--;
CREATE TRIGGER pump_plans_noticed_delete AFTER DELETE ON pump_plans BEGIN
  UPDATE change_counters SET value = value + 1 WHERE channel = 'calejo_plans';
END
--;
CREATE TRIGGER sites_noticed_insert AFTER INSERT ON sites BEGIN
  UPDATE change_counters SET value = value + 1 WHERE channel = 'calejo_configuration';
END
--;
CREATE TRIGGER sites_noticed_update AFTER UPDATE ON sites BEGIN
  UPDATE change_counters SET value = value + 1 WHERE channel = 'calejo_configuration';
END
--;
CREATE TRIGGER sites_noticed_delete AFTER DELETE ON sites BEGIN
  UPDATE change_counters SET value = value + 1 WHERE channel = 'calejo_configuration';
END
--;
CREATE TRIGGER pump_stations_noticed_insert AFTER INSERT ON pump_stations BEGIN
  UPDATE change_counters SET value = value + 1 WHERE channel = 'calejo_configuration';
END
--;
CREATE TRIGGER pump_stations_noticed_update AFTER UPDATE ON pump_stations BEGIN
  UPDATE change_counters SET value = value + 1 WHERE channel = 'calejo_configuration';
END
--;
CREATE TRIGGER pump_stations_noticed_delete AFTER DELETE ON pump_stations BEGIN
  UPDATE change_counters SET value = value + 1 WHERE channel = 'calejo_configuration';
END
--;
CREATE TRIGGER pumps_noticed_insert AFTER INSERT ON pumps BEGIN
  UPDATE change_counters SET value = value + 1 WHERE channel = 'calejo_configuration';
END
--;
CREATE TRIGGER pumps_noticed_update AFTER UPDATE ON pumps BEGIN
  UPDATE change_counters SET value = value + 1 WHERE channel = 'calejo_configuration';
END
--;
CREATE TRIGGER pumps_noticed_delete AFTER DELETE ON pumps BEGIN
  UPDATE change_counters SET value = value + 1 WHERE channel = 'calejo_configuration';
END
--;
CREATE TRIGGER pump_safety_limits_noticed_insert AFTER INSERT ON pump_safety_limits BEGIN
  UPDATE change_counters SET value = value + 1 WHERE channel = 'calejo_configuration';
END
--;
CREATE TRIGGER pump_safety_limits_noticed_update AFTER UPDATE ON pump_safety_limits BEGIN
  UPDATE change_counters SET value = value + 1 WHERE channel = 'calejo_configuration';
END
--;
CREATE TRIGGER pump_safety_limits_noticed_delete AFTER DELETE ON pump_safety_limits BEGIN
  UPDATE change_counters SET value = value + 1 WHERE channel = 'calejo_configuration';
END
--;
CREATE TRIGGER pump_commissioning_envelopes_noticed_insert AFTER INSERT ON pump_commissioning_envelopes BEGIN
  UPDATE change_counters SET value = value + 1 WHERE channel = 'calejo_configuration';
END
--;
CREATE TRIGGER pump_commissioning_envelopes_noticed_update AFTER UPDATE ON pump_commissioning_envelopes BEGIN
  UPDATE change_counters SET value = value + 1 WHERE channel = 'calejo_configuration';
END
--;
CREATE TRIGGER pump_commissioning_envelopes_noticed_delete AFTER DELETE ON pump_commissioning_envelopes BEGIN
  UPDATE change_counters SET value = value + 1 WHERE channel = 'calejo_configuration';
END
