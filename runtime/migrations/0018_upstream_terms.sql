-- What an upstream allows is counted in calls, as providers count, and some allow so many a day.
ALTER TABLE upstream RENAME COLUMN rate_per_s TO calls_per_s;
ALTER TABLE upstream ADD COLUMN calls_per_day BIGINT;
-- What was learned of it, as JSON: what its plugin noted, a pace below what is allowed, the calls of a day.
ALTER TABLE upstream ADD COLUMN learned TEXT NOT NULL DEFAULT '{}';
