-- What the secrets of this database are sealed with: nobody starts on it with another key, or makes a new one for it.
CREATE TABLE master_key (
    id            TEXT PRIMARY KEY,       -- names the key without telling it
    canary        BYTEA NOT NULL,         -- sealed with it
    created_at    BIGINT NOT NULL
);

-- An extended key is what it derives, however it is written (with a blank, as tpub, at another depth): no two merchants of
-- a network have one that derives the same first address.
ALTER TABLE extended_key ADD COLUMN first_address TEXT;
CREATE UNIQUE INDEX extended_key_first ON extended_key (network, first_address);
