-- What was decided wrong can be put right, each time by something added.

-- ---------------------------------------------------------------- endpoints

-- Deliveries that wait for a deleted endpoint are given up; what was delivered stays listed.
ALTER TABLE endpoint ADD COLUMN deleted_at BIGINT;
CREATE INDEX endpoint_leaving ON endpoint (id) WHERE deleted_at IS NOT NULL AND due_at IS NOT NULL;
-- Why a delivery was given up, if not for its attempts.
ALTER TABLE delivery ADD COLUMN why TEXT;
