-- Station duties and profiles (CTL-6), for PostgreSQL. Frozen.
-- Statements are parted by lines that say "--;".
CREATE TABLE station_duties (
  station_id VARCHAR(40) NOT NULL,
  alternation TEXT DEFAULT 'OFF' NOT NULL,
  duty_order TEXT DEFAULT '' NOT NULL,
  alternation_h DOUBLE PRECISION,
  assist_pumps INTEGER DEFAULT '0' NOT NULL,
  assist_reset_m DOUBLE PRECISION,
  assist_after_s DOUBLE PRECISION DEFAULT '60' NOT NULL,
  assist_speed_hz DOUBLE PRECISION,
  exercise_after_h DOUBLE PRECISION,
  exercise_run_s DOUBLE PRECISION,
  exercise_level_m DOUBLE PRECISION,
  flush_every_h DOUBLE PRECISION,
  flush_run_s DOUBLE PRECISION,
  flush_speed_hz DOUBLE PRECISION,
  flush_flow_m3h DOUBLE PRECISION,
  flush_level_m DOUBLE PRECISION,
  clean_out_level_m DOUBLE PRECISION,
  clean_out_run_s DOUBLE PRECISION,
  clean_out_speed_hz DOUBLE PRECISION,
  clean_out_power_kw_min DOUBLE PRECISION,
  CONSTRAINT pk_station_duties PRIMARY KEY (station_id),
  CONSTRAINT ck_station_duties_station_id_is_id CHECK (station_id ~ '^[a-z0-9][a-z0-9_-]{0,39}$'),
  CONSTRAINT ck_station_duties_assist_reset_m_is_finite CHECK (assist_reset_m >= -1000000000 AND assist_reset_m <= 1000000000),
  CONSTRAINT ck_station_duties_exercise_level_m_is_finite CHECK (exercise_level_m >= -1000000000 AND exercise_level_m <= 1000000000),
  CONSTRAINT ck_station_duties_flush_level_m_is_finite CHECK (flush_level_m >= -1000000000 AND flush_level_m <= 1000000000),
  CONSTRAINT ck_station_duties_clean_out_level_m_is_finite CHECK (clean_out_level_m >= -1000000000 AND clean_out_level_m <= 1000000000),
  CONSTRAINT ck_station_duties_alternation_is_known CHECK (alternation IN ('OFF', 'FIXED', 'BY_START', 'BY_HOURS', 'BY_STARTS')),
  CONSTRAINT ck_station_duties_assist_pumps_in_range CHECK (assist_pumps >= 0 AND assist_pumps <= 100),
  CONSTRAINT ck_station_duties_assist_has_reset CHECK (assist_pumps = 0 OR assist_reset_m IS NOT NULL),
  CONSTRAINT ck_station_duties_assist_after_s_in_range CHECK (assist_after_s >= 1 AND assist_after_s <= 86400),
  CONSTRAINT ck_station_duties_exercise_run_s_in_range CHECK (exercise_run_s >= 1 AND exercise_run_s <= 3600),
  CONSTRAINT ck_station_duties_flush_run_s_in_range CHECK (flush_run_s >= 10 AND flush_run_s <= 7200),
  CONSTRAINT ck_station_duties_clean_out_run_s_in_range CHECK (clean_out_run_s >= 10 AND clean_out_run_s <= 1800),
  CONSTRAINT ck_station_duties_alternation_h_in_range CHECK (alternation_h >= 0.01 AND alternation_h <= 8760),
  CONSTRAINT ck_station_duties_exercise_after_h_in_range CHECK (exercise_after_h >= 0.01 AND exercise_after_h <= 8760),
  CONSTRAINT ck_station_duties_flush_every_h_in_range CHECK (flush_every_h >= 0.01 AND flush_every_h <= 8760),
  CONSTRAINT ck_station_duties_assist_speed_hz_in_range CHECK (assist_speed_hz > 0 AND assist_speed_hz <= 1000),
  CONSTRAINT ck_station_duties_flush_speed_hz_in_range CHECK (flush_speed_hz > 0 AND flush_speed_hz <= 1000),
  CONSTRAINT ck_station_duties_clean_out_speed_hz_in_range CHECK (clean_out_speed_hz > 0 AND clean_out_speed_hz <= 1000),
  CONSTRAINT ck_station_duties_flush_flow_m3h_positive CHECK (flush_flow_m3h > 0 AND flush_flow_m3h <= 1000000000),
  CONSTRAINT ck_station_duties_clean_out_power_kw_min_positive CHECK (clean_out_power_kw_min > 0 AND clean_out_power_kw_min <= 1000000000),
  CONSTRAINT ck_station_duties_exercise_is_whole CHECK ((exercise_after_h IS NULL) = (exercise_run_s IS NULL) AND (exercise_after_h IS NULL) = (exercise_level_m IS NULL)),
  CONSTRAINT ck_station_duties_flush_is_whole CHECK ((flush_every_h IS NULL) = (flush_run_s IS NULL) AND (flush_every_h IS NULL) = (flush_speed_hz IS NULL) AND (flush_every_h IS NULL) = (flush_flow_m3h IS NULL) AND (flush_every_h IS NULL) = (flush_level_m IS NULL)),
  CONSTRAINT ck_station_duties_clean_out_is_whole CHECK ((clean_out_level_m IS NULL) = (clean_out_run_s IS NULL) AND (clean_out_level_m IS NULL) = (clean_out_speed_hz IS NULL) AND (clean_out_level_m IS NULL) = (clean_out_power_kw_min IS NULL)),
  CONSTRAINT fk_station_duties_station_id FOREIGN KEY(station_id) REFERENCES pump_stations (station_id)
)
--;
CREATE TABLE station_profiles (
  station_id VARCHAR(40) NOT NULL,
  name TEXT NOT NULL,
  weekdays TEXT DEFAULT '1234567' NOT NULL,
  starts_at TEXT NOT NULL,
  ends_at TEXT NOT NULL,
  default_setpoint_hz DOUBLE PRECISION,
  speed_hz_min DOUBLE PRECISION,
  speed_hz_max DOUBLE PRECISION,
  max_pumps_running INTEGER,
  duty_order TEXT DEFAULT '' NOT NULL,
  CONSTRAINT pk_station_profiles PRIMARY KEY (station_id, name),
  CONSTRAINT ck_station_profiles_station_id_is_id CHECK (station_id ~ '^[a-z0-9][a-z0-9_-]{0,39}$'),
  CONSTRAINT ck_station_profiles_default_setpoint_hz_is_finite CHECK (default_setpoint_hz >= -1000000000 AND default_setpoint_hz <= 1000000000),
  CONSTRAINT ck_station_profiles_speed_hz_min_is_finite CHECK (speed_hz_min >= -1000000000 AND speed_hz_min <= 1000000000),
  CONSTRAINT ck_station_profiles_speed_hz_max_is_finite CHECK (speed_hz_max >= -1000000000 AND speed_hz_max <= 1000000000),
  CONSTRAINT ck_station_profiles_starts_at_is_time CHECK (starts_at ~ '^([01][0-9]|2[0-3]):[0-5][0-9]$'),
  CONSTRAINT ck_station_profiles_ends_at_is_time CHECK (ends_at ~ '^([01][0-9]|2[0-3]):[0-5][0-9]$'),
  CONSTRAINT ck_station_profiles_name_named CHECK (trim(name) <> '' AND length(name) <= 40),
  CONSTRAINT ck_station_profiles_weekdays_are_days CHECK (weekdays ~ '^[1-7]+$'),
  CONSTRAINT ck_station_profiles_default_setpoint_hz_not_negative CHECK (default_setpoint_hz >= 0),
  CONSTRAINT ck_station_profiles_speed_hz_min_positive CHECK (speed_hz_min > 0),
  CONSTRAINT ck_station_profiles_speed_hz_max_positive CHECK (speed_hz_max > 0),
  CONSTRAINT ck_station_profiles_speed_band CHECK (speed_hz_min <= speed_hz_max),
  CONSTRAINT ck_station_profiles_max_pumps_running_in_range CHECK (max_pumps_running >= 1 AND max_pumps_running <= 1000),
  CONSTRAINT fk_station_profiles_station_id FOREIGN KEY(station_id) REFERENCES pump_stations (station_id)
)
--;
CREATE TRIGGER z_noticed AFTER INSERT OR UPDATE OR DELETE ON station_duties
  FOR EACH STATEMENT EXECUTE FUNCTION calejo_configuration_changed()
--;
CREATE TRIGGER a_lower_ids BEFORE INSERT OR UPDATE ON station_duties
  FOR EACH ROW WHEN (NEW.station_id <> lower(NEW.station_id)) EXECUTE FUNCTION calejo_lower_ids('station_id')
--;
CREATE TRIGGER z_noticed AFTER INSERT OR UPDATE OR DELETE ON station_profiles
  FOR EACH STATEMENT EXECUTE FUNCTION calejo_configuration_changed()
--;
CREATE TRIGGER a_lower_ids BEFORE INSERT OR UPDATE ON station_profiles
  FOR EACH ROW WHEN (NEW.station_id <> lower(NEW.station_id)) EXECUTE FUNCTION calejo_lower_ids('station_id')
--;
-- Nothing that serves the network may change a duty: control_writer is given nothing here (DAT-2, SAF-6).
GRANT SELECT ON station_duties, station_profiles TO control_reader
