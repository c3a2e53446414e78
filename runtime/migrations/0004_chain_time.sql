-- Whom a payment belongs to is decided by the chain's own time: holds are intervals of block times, and deadlines
-- pass when the chain was read past them.

-- ---------------------------------------------------------------- how far a network was read, in its own time

-- time of the last block that was read, milliseconds
ALTER TABLE cursor ADD COLUMN time BIGINT NOT NULL DEFAULT 0;
-- time of the final block: what is before it was read, and stays as it is; never goes back
ALTER TABLE cursor ADD COLUMN final_time BIGINT NOT NULL DEFAULT 0;
-- number of the last sighting in the network's log
ALTER TABLE cursor ADD COLUMN seq BIGINT NOT NULL DEFAULT 0;
UPDATE cursor SET
    seq = (SELECT COALESCE(MAX(s.seq), 0) FROM sighting s WHERE s.network = cursor.network),
    time = (SELECT COALESCE(MAX(b.time), 0) FROM block b WHERE b.network = cursor.network AND b.height = cursor.height),
    final_time = (SELECT COALESCE(MAX(b.time), 0) FROM block b WHERE b.network = cursor.network AND b.height = cursor.final);

-- Place in the network's log at which it was first seen: what was seen before an invoice was made pays it not.
ALTER TABLE transfer ADD COLUMN seq BIGINT NOT NULL DEFAULT 0;

-- ---------------------------------------------------------------- invoices

-- The network's log when the invoice was made: a transfer that stood in it was paid before.
ALTER TABLE invoice ADD COLUMN sighted BIGINT NOT NULL DEFAULT 0;
ALTER TABLE invoice DROP COLUMN head;
-- 0: it was made while the chain was not being read. Its deadline begins to count when the chain is read again, since
-- this machine's clock alone may be wrong.
ALTER TABLE invoice ADD COLUMN pinned BIGINT NOT NULL DEFAULT 1 CHECK (pinned IN (0, 1));
CREATE INDEX invoice_unpinned ON invoice (network) WHERE pinned = 0;
DROP INDEX invoice_expiry;
CREATE INDEX invoice_expiry ON invoice (network, expires_at)
    WHERE expired_at IS NULL AND cancelled_at IS NULL AND status IN ('new', 'detected', 'underpaid');

-- ---------------------------------------------------------------- what tells payments apart

-- Who holds an amount or a memo now, since when and until when, by the time of blocks. One invoice for each key.
-- Keys compare byte by byte, so that amounts with as many digits stand in order.
CREATE TABLE hold_now (
    key           TEXT /*pg: COLLATE "C"*/ PRIMARY KEY,   -- 'address_id/asset_id=due' or 'address_id/memo=text'
    network       TEXT NOT NULL,
    invoice_id    TEXT NOT NULL,
    since         BIGINT NOT NULL,
    until         BIGINT NOT NULL
)/*sqlite: WITHOUT ROWID*/;
INSERT INTO hold_now (key, network, invoice_id, since, until)
    SELECT h.key, i.network, h.invoice_id, 0, h.held_until FROM hold h JOIN invoice i ON i.id = h.invoice_id;
DROP TABLE hold;
ALTER TABLE hold_now RENAME TO hold;
CREATE INDEX hold_end ON hold (network, until);

-- Who held it before: a payment is given to whoever held its amount at the time of its block, however late it is read.
CREATE TABLE past_hold (
    key           TEXT /*pg: COLLATE "C"*/ NOT NULL,
    since         BIGINT NOT NULL,
    until         BIGINT NOT NULL,
    invoice_id    TEXT NOT NULL,
    PRIMARY KEY (key, since)
)/*sqlite: WITHOUT ROWID*/;

-- Where the amounts of a price go on. Advanced before an amount is asked for, so that none comes again before all others.
CREATE TABLE ring (
    key           TEXT PRIMARY KEY,       -- 'address_id/asset_id=price'
    next          BIGINT NOT NULL,        -- counts up; the place is what is left of it in the ring
    life          BIGINT NOT NULL         -- installation.life when it was last advanced
)/*sqlite: WITHOUT ROWID*/;

-- This database. A new life begins when it may be older than what payers were told: after a restored backup. Then rings
-- and keys leave out what may have been given out meanwhile.
CREATE TABLE installation (
    one           BIGINT PRIMARY KEY CHECK (one = 1),
    life          BIGINT NOT NULL,
    alive_at      BIGINT NOT NULL         -- told now and then by whoever runs on it
);

-- A key that was replaced remembers where it was: when it is set again it goes on there.
CREATE TABLE extended_key_now (
    id            TEXT PRIMARY KEY,
    merchant_id   TEXT NOT NULL REFERENCES merchant (id),
    network       TEXT NOT NULL REFERENCES network (name),
    public_key    TEXT NOT NULL,
    next_index    BIGINT NOT NULL,
    life          BIGINT NOT NULL DEFAULT 0,              -- installation.life when it was last advanced
    replaced_at   BIGINT,
    created_at    BIGINT NOT NULL,
    UNIQUE (network, public_key)
);
INSERT INTO extended_key_now (id, merchant_id, network, public_key, next_index, created_at)
    SELECT id, merchant_id, network, public_key, next_index, created_at FROM extended_key;
DROP TABLE extended_key;
ALTER TABLE extended_key_now RENAME TO extended_key;
CREATE UNIQUE INDEX extended_key_current ON extended_key (merchant_id, network) WHERE replaced_at IS NULL;

-- Merchants whose hook is being asked what a transfer pays: their invoices do not expire meanwhile.
CREATE INDEX unmatched_matching ON unmatched (merchant_id) WHERE state = 'open' AND reason = 'matching';
