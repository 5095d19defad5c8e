-- What a stop is about is said once: of its row only what merging a clear needs may be written (DAT-2). Frozen.
-- Statements are parted by lines that say "--;".
REVOKE UPDATE (scope, scope_id, reason, set_by, set_at, kind) ON emergency_stop_events FROM control_writer
