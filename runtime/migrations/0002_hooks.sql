-- Merchants' hooks: components of theirs, bound to events.

CREATE TABLE hook (
    id            TEXT PRIMARY KEY,
    merchant_id   TEXT NOT NULL REFERENCES merchant (id),
    test          BIGINT NOT NULL CHECK (test IN (0, 1)),
    name          TEXT NOT NULL,          -- of its manifest
    active_id     TEXT,                   -- hook_version in use; none: not activated yet
    -- hook_version that every run is played to as well, without effects; none: no one
    shadow_id     TEXT,
    -- counts every activation
    generation    BIGINT NOT NULL,
    -- the roles of the version in use
    fulfills      BIGINT NOT NULL CHECK (fulfills IN (0, 1)),
    matches       BIGINT NOT NULL CHECK (matches IN (0, 1)),
    prices        BIGINT NOT NULL CHECK (prices IN (0, 1)),
    binding       TEXT NOT NULL,          -- what it is run for: domain::hook::Binding as JSON
    settings      TEXT NOT NULL,          -- JSON object
    state         TEXT NOT NULL CHECK (state IN ('active', 'disabled')),
    -- the breaker: after many failures in a row runs wait here, none is dropped
    failures      BIGINT NOT NULL,
    paused_until  BIGINT,
    -- when the first of its waiting runs is due, or earlier; none: nothing waits
    due_at        BIGINT,
    created_at    BIGINT NOT NULL,
    deleted_at    BIGINT
);
CREATE UNIQUE INDEX hook_name ON hook (merchant_id, test, name) WHERE deleted_at IS NULL;
CREATE INDEX hook_merchant ON hook (merchant_id, test, id);
CREATE INDEX hook_due ON hook (due_at, id) WHERE due_at IS NOT NULL AND state = 'active';

CREATE TABLE hook_version (
    id            TEXT PRIMARY KEY,
    hook_id       TEXT NOT NULL REFERENCES hook (id),
    version       TEXT NOT NULL,
    sha256        TEXT NOT NULL REFERENCES artefact (sha256),
    manifest      TEXT NOT NULL,          -- JSON, as read from the artefact
    created_at    BIGINT NOT NULL,
    UNIQUE (hook_id, sha256)
);
CREATE INDEX hook_version_sha256 ON hook_version (sha256);

-- Every activation, the newest last: a rollback activates the one before.
CREATE TABLE hook_activation (
    hook_id       TEXT NOT NULL REFERENCES hook (id),
    generation    BIGINT NOT NULL,
    version_id    TEXT NOT NULL REFERENCES hook_version (id),
    at            BIGINT NOT NULL,
    PRIMARY KEY (hook_id, generation)
);

CREATE TABLE hook_secret (
    id            TEXT PRIMARY KEY,
    hook_id       TEXT NOT NULL REFERENCES hook (id),
    name          TEXT NOT NULL,
    value         BYTEA NOT NULL,         -- sealed, bound to this row's id
    created_at    BIGINT NOT NULL,
    UNIQUE (hook_id, name)
);

-- One event owed to one hook.
CREATE TABLE hook_run (
    id            TEXT PRIMARY KEY,
    hook_id       TEXT NOT NULL REFERENCES hook (id),
    event_id      TEXT NOT NULL REFERENCES event (id),
    merchant_id   TEXT NOT NULL,
    test          BIGINT NOT NULL CHECK (test IN (0, 1)),
    state         TEXT NOT NULL CHECK (state IN ('pending', 'done', 'rejected', 'exhausted')),
    attempts      BIGINT NOT NULL,
    note          TEXT,                   -- what the last attempt said
    created_at    BIGINT NOT NULL,
    done_at       BIGINT,
    UNIQUE (event_id, hook_id)
);
CREATE INDEX hook_run_hook ON hook_run (hook_id, id);
CREATE INDEX hook_run_merchant ON hook_run (merchant_id, test, id);

-- The narrow table that workers claim from. A row is here exactly while its run is pending.
CREATE TABLE hook_run_queue (
    run_id          TEXT PRIMARY KEY REFERENCES hook_run (id),
    hook_id         TEXT NOT NULL,
    -- when it may be claimed; a claim moves it to the end of its lease
    due_at          BIGINT NOT NULL,
    -- counts claims; an end with an older fence is stale and changes nothing
    fence           BIGINT NOT NULL,
    -- made before the present round: running it again begins a new one
    attempts_before BIGINT NOT NULL
)/*sqlite: WITHOUT ROWID*/;
CREATE INDEX hook_run_queue_due ON hook_run_queue (hook_id, due_at, run_id);

-- One call, and what it used.
CREATE TABLE hook_attempt (
    run_id        TEXT NOT NULL REFERENCES hook_run (id),
    number        BIGINT NOT NULL,
    at            BIGINT NOT NULL,
    version_id    TEXT NOT NULL,
    outcome       TEXT NOT NULL CHECK (outcome IN ('done', 'retry', 'reject', 'failed')),
    note          TEXT NOT NULL,
    duration_us   BIGINT NOT NULL,
    cpu_us        BIGINT NOT NULL,
    fuel          BIGINT NOT NULL,
    memory_bytes  BIGINT NOT NULL,
    host_calls    BIGINT NOT NULL,
    http_requests BIGINT NOT NULL,
    log           TEXT NOT NULL,          -- JSON: a list of {level, text}
    tape          TEXT NOT NULL,          -- JSON: what it asked the host and was answered, for replays
    PRIMARY KEY (run_id, number)
);

-- How the version in the shadow would have done, call by call.
CREATE TABLE hook_shadow (
    hook_id       TEXT NOT NULL REFERENCES hook (id),
    version_id    TEXT NOT NULL,
    run_id        TEXT NOT NULL,
    number        BIGINT NOT NULL,        -- of the call
    same          BIGINT NOT NULL CHECK (same IN (0, 1)),
    difference    TEXT NOT NULL,          -- JSON: then, now, missing, added
    at            BIGINT NOT NULL,
    PRIMARY KEY (hook_id, version_id, run_id, number)
);
CREATE INDEX hook_shadow_different ON hook_shadow (hook_id, version_id, at) WHERE same = 0;

-- What a hook used, day by day (of UTC).
CREATE TABLE hook_usage (
    hook_id       TEXT NOT NULL REFERENCES hook (id),
    day           BIGINT NOT NULL,        -- since 1970
    attempts      BIGINT NOT NULL,
    failed        BIGINT NOT NULL,
    cpu_us        BIGINT NOT NULL,
    http_requests BIGINT NOT NULL,
    PRIMARY KEY (hook_id, day)
);
