-- A user's name is given once: nobody is deleted or renamed, so that every `set_by` names one account. For PostgreSQL.
-- Frozen. Statements are parted by lines that say "--;".
CREATE FUNCTION calejo_user_stays() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF TG_OP <> 'UPDATE' THEN
    RAISE EXCEPTION USING ERRCODE = 'check_violation', MESSAGE = 'users: an account is disabled, never deleted';
  END IF;
  IF (NEW.user_id, NEW.kind) IS DISTINCT FROM (OLD.user_id, OLD.kind) THEN
    RAISE EXCEPTION USING ERRCODE = 'check_violation',
      MESSAGE = 'users: name and kind of an account never change';
  END IF;
  RETURN NEW;
END
$$
--;
CREATE TRIGGER a_user_stays BEFORE UPDATE OR DELETE ON users
  FOR EACH ROW EXECUTE FUNCTION calejo_user_stays()
--;
CREATE TRIGGER a_user_stays_truncate BEFORE TRUNCATE ON users
  FOR EACH STATEMENT EXECUTE FUNCTION calejo_user_stays()
