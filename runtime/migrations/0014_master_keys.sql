-- Several master keys, of which the newest seals. An older one opens what it has sealed.
ALTER TABLE master_key ADD COLUMN place BIGINT NOT NULL DEFAULT 1;      -- counts up; the newest has the highest
CREATE UNIQUE INDEX master_key_place ON master_key (place);

-- A key as another one has sealed it. Under an older key only while a new one takes its place.
CREATE TABLE master_key_copy (
    id            TEXT NOT NULL REFERENCES master_key (id),
    under         TEXT NOT NULL REFERENCES master_key (id),
    sealed        BYTEA NOT NULL,
    PRIMARY KEY (id, under)
);

-- URLs of providers hold tokens. From now on `url` is what may be shown, and `sealed` (a JSON object of the whole URL and
-- the secret headers, bound to the row's id) is what is asked. A start seals the rows that have none yet.
ALTER TABLE upstream ADD COLUMN sealed BYTEA;
ALTER TABLE upstream ADD COLUMN has_headers BIGINT NOT NULL DEFAULT 0;
