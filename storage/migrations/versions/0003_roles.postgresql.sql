-- What the writer's login may do with limits: append approved versions and proposals, close a proposal, and read what
-- that rests on. Never the envelope: nothing that serves the network can widen it (SAF-6, DAT-2). Frozen.
-- Statements are parted by lines that say "--;".
GRANT SELECT, INSERT ON pump_safety_limits, pump_limit_proposals TO control_writer
--;
GRANT SELECT ON pump_safety_limits_history, pump_commissioning_envelopes TO control_writer
--;
GRANT SELECT (pump_id, control_type) ON pumps TO control_writer
--;
GRANT UPDATE (state, closed_by, closed_at, close_reason, version) ON pump_limit_proposals TO control_writer
