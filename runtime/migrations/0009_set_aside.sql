-- Claims in a row of which nothing was heard: what ends a process is not claimed for ever.
ALTER TABLE delivery_queue ADD COLUMN claims BIGINT NOT NULL DEFAULT 0;
ALTER TABLE hook_run_queue ADD COLUMN claims BIGINT NOT NULL DEFAULT 0;
ALTER TABLE match_queue ADD COLUMN claims BIGINT NOT NULL DEFAULT 0;
