-- A user's name is given once: nobody is deleted or renamed, so that every `set_by` names one account. For SQLite. Frozen.
-- Statements are parted by lines that say "--;".
CREATE TRIGGER users_no_delete BEFORE DELETE ON users BEGIN
  SELECT RAISE(ABORT, 'users: an account is disabled, never deleted');
END
--;
CREATE TRIGGER users_name_stays BEFORE UPDATE ON users
WHEN NEW.user_id IS NOT OLD.user_id OR NEW.kind IS NOT OLD.kind
BEGIN
  SELECT RAISE(ABORT, 'users: name and kind of an account never change');
END
--;
-- REPLACE deletes without asking the DELETE trigger.
CREATE TRIGGER users_added_once BEFORE INSERT ON users
WHEN EXISTS (SELECT 1 FROM users WHERE user_id = NEW.user_id)
BEGIN
  SELECT RAISE(ABORT, 'users: the name is taken');
END
