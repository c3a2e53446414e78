-- Whose an address or an extended key is: since when its merchant has proven it, and when its merchant was last told that
-- another one wants it.
ALTER TABLE receive_address ADD COLUMN ownership_proven_at BIGINT;
ALTER TABLE receive_address ADD COLUMN claim_told_at BIGINT;
ALTER TABLE extended_key ADD COLUMN ownership_proven_at BIGINT;
ALTER TABLE extended_key ADD COLUMN claim_told_at BIGINT;
