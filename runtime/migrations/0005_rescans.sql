-- Blocks that were read may be read again: for addresses that were registered too late, or a provider that kept
-- something back.
CREATE TABLE rescan (
    id            TEXT PRIMARY KEY,
    network       TEXT NOT NULL REFERENCES network (name),
    since         BIGINT,                 -- where to begin, as a time; the block of it is looked for first
    from_height   BIGINT,                 -- none: it is still looked for
    to_height     BIGINT NOT NULL,
    next_height   BIGINT,                 -- what is read next; what lies below is taken in
    parent        TEXT NOT NULL DEFAULT '',   -- hash of the block before that, as it was read here
    state         TEXT NOT NULL CHECK (state IN ('running', 'done', 'failed', 'cancelled')),
    found         BIGINT NOT NULL DEFAULT 0,  -- transfers that nobody knew before
    error         TEXT,                   -- why it failed, or what holds it up
    created_at    BIGINT NOT NULL,
    done_at       BIGINT,
    CHECK (since IS NOT NULL OR from_height IS NOT NULL),
    CHECK ((from_height IS NULL) = (next_height IS NULL)),
    CHECK ((state = 'running') = (done_at IS NULL))
);
-- One at a time on each network.
CREATE UNIQUE INDEX rescan_running ON rescan (network) WHERE state = 'running';
CREATE INDEX rescan_network ON rescan (network, id);
