-- What merchants' hooks take on disk is counted, and what is old is deleted.

-- ---------------------------------------------------------------- what hooks take

-- What a merchant's hooks take, of both modes together, in bytes. Whoever stores or deletes some of it changes this row
-- in the same transaction, so that a limit holds however many do so at once.
CREATE TABLE hook_disk (
    merchant_id   TEXT PRIMARY KEY REFERENCES merchant (id),
    components    BIGINT NOT NULL,        -- versions, with their manifests
    compiled      BIGINT NOT NULL,        -- their compiled code
    storage       BIGINT NOT NULL,        -- what hooks have stored
    runs          BIGINT NOT NULL         -- calls, questions and differences, with logs and recordings
)/*sqlite: WITHOUT ROWID*/;

ALTER TABLE hook_version ADD COLUMN bytes BIGINT NOT NULL DEFAULT 0;
ALTER TABLE hook_version ADD COLUMN compiled_bytes BIGINT NOT NULL DEFAULT 0;
-- How much code the compiler made is not known any more: about three times the component.
UPDATE hook_version SET
    bytes = OCTET_LENGTH(manifest) + (SELECT OCTET_LENGTH(a.wasm) FROM artefact a WHERE a.sha256 = hook_version.sha256),
    compiled_bytes = 3 * (SELECT OCTET_LENGTH(a.wasm) FROM artefact a WHERE a.sha256 = hook_version.sha256);

-- bytes: what the row counts for; tape_bytes: as much of it as is recordings, while they are kept.
ALTER TABLE hook_attempt ADD COLUMN bytes BIGINT NOT NULL DEFAULT 0;
ALTER TABLE hook_attempt ADD COLUMN tape_bytes BIGINT NOT NULL DEFAULT 0;
UPDATE hook_attempt SET tape_bytes = OCTET_LENGTH(tape) WHERE tape <> '{"steps":[],"cut":true}';
UPDATE hook_attempt SET bytes = 256 + OCTET_LENGTH(note) + OCTET_LENGTH(log) + tape_bytes;
CREATE INDEX hook_attempt_tape ON hook_attempt (version_id, run_id, number) WHERE tape_bytes > 0;

ALTER TABLE hook_match ADD COLUMN bytes BIGINT NOT NULL DEFAULT 0;
ALTER TABLE hook_match ADD COLUMN tape_bytes BIGINT NOT NULL DEFAULT 0;
UPDATE hook_match SET tape_bytes = OCTET_LENGTH(question) + OCTET_LENGTH(tape) WHERE question <> 'null';
UPDATE hook_match SET bytes = 256 + OCTET_LENGTH(note) + OCTET_LENGTH(parts) + OCTET_LENGTH(log) + tape_bytes;
CREATE INDEX hook_match_tape ON hook_match (version_id, id) WHERE tape_bytes > 0;

ALTER TABLE hook_shadow ADD COLUMN bytes BIGINT NOT NULL DEFAULT 0;
UPDATE hook_shadow SET bytes = 256 + OCTET_LENGTH(difference);

INSERT INTO hook_disk (merchant_id, components, compiled, storage, runs)
    SELECT m.id,
        COALESCE((SELECT SUM(v.bytes) FROM hook_version v JOIN hook h ON h.id = v.hook_id
                  WHERE h.merchant_id = m.id), 0),
        COALESCE((SELECT SUM(v.compiled_bytes) FROM hook_version v JOIN hook h ON h.id = v.hook_id
                  WHERE h.merchant_id = m.id), 0),
        COALESCE((SELECT SUM(OCTET_LENGTH(s.key) + OCTET_LENGTH(s.value)) FROM plugin_storage s
                  JOIN hook h ON s.scope = 'hook:' || h.id WHERE h.merchant_id = m.id AND s.key <> ''), 0),
        COALESCE((SELECT SUM(a.bytes) FROM hook_attempt a JOIN hook_run r ON r.id = a.run_id
                  WHERE r.merchant_id = m.id), 0)
        + COALESCE((SELECT SUM(q.bytes) FROM hook_match q WHERE q.merchant_id = m.id), 0)
        + COALESCE((SELECT SUM(s.bytes) FROM hook_shadow s JOIN hook h ON h.id = s.hook_id
                    WHERE h.merchant_id = m.id), 0)
    FROM merchant m;

-- ---------------------------------------------------------------- what is deleted when it is old

-- Up to when what is old was deleted, by kind: of what is older some may be gone.
CREATE TABLE retention (
    kind          TEXT PRIMARY KEY,
    before        BIGINT NOT NULL,
    at            BIGINT NOT NULL         -- when it was last looked for
)/*sqlite: WITHOUT ROWID*/;

CREATE INDEX hook_shadow_at ON hook_shadow (at);

-- ---------------------------------------------------------------- personal data

-- The run of a hook, or the question to a matcher, in which a hook had an event sent; none: it is not a hook's.
ALTER TABLE event ADD COLUMN cause TEXT;
CREATE INDEX event_cause ON event (cause) WHERE cause IS NOT NULL;
CREATE INDEX hook_shadow_run ON hook_shadow (run_id);

-- Invoices whose personal data was erased: who did it, and when. Only ever added to.
CREATE TABLE erasure (
    invoice_id    TEXT PRIMARY KEY REFERENCES invoice (id),
    merchant_id   TEXT NOT NULL REFERENCES merchant (id),
    test          BIGINT NOT NULL CHECK (test IN (0, 1)),
    key_id        TEXT NOT NULL,          -- the API key that it was done with
    at            BIGINT NOT NULL
)/*sqlite: WITHOUT ROWID*/;
