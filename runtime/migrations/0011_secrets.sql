-- A secret keeps what it is for with its value: another version of its hook, or another setting, does not send it elsewhere.
-- There may be a value for each purpose of a name. Those of before were for whatever the version in use said; they are to
-- be set again.
DROP TABLE hook_secret;
CREATE TABLE hook_secret (
    id            TEXT PRIMARY KEY,
    hook_id       TEXT NOT NULL REFERENCES hook (id),
    name          TEXT NOT NULL,
    purpose       TEXT NOT NULL,          -- 'sign', or 'host:' and the host that it is sent to
    value         BYTEA NOT NULL,         -- sealed, bound to this row's id and its purpose
    created_at    BIGINT NOT NULL,
    UNIQUE (hook_id, name, purpose)
);
