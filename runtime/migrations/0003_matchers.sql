-- Matchers: hooks that say which invoice a transfer pays. What they say may divide a transfer into parts, each a
-- payment with journals of its own. SQLite changes no constraint of a table that is there, so those three are made
-- anew.

-- A transfer, or a part of one, and what it pays.
CREATE TABLE payment_in_parts (
    id            TEXT PRIMARY KEY,
    transfer_id   TEXT NOT NULL REFERENCES transfer (id),
    -- from 0; one that pays a single thing has only part 0
    part          BIGINT NOT NULL CHECK (part >= 0),
    merchant_id   TEXT NOT NULL REFERENCES merchant (id),
    invoice_id    TEXT REFERENCES invoice (id),      -- none: a deposit to a customer's address
    address_id    TEXT NOT NULL,
    asset_id      TEXT NOT NULL,
    amount        TEXT NOT NULL,
    status        TEXT NOT NULL CHECK (status IN ('pending', 'credited', 'retracted')),
    -- manual: a person assigned it; late: it came after the deadline
    exception     TEXT NOT NULL CHECK (exception IN ('none', 'late', 'manual')),
    epoch         BIGINT NOT NULL,
    created_at    BIGINT NOT NULL,
    credited_at   BIGINT,
    UNIQUE (transfer_id, part)
)/*sqlite: WITHOUT ROWID*/;
INSERT INTO payment_in_parts
    SELECT id, transfer_id, 0, merchant_id, invoice_id, address_id, asset_id, amount, status, exception, epoch,
           created_at, credited_at
    FROM payment;
DROP TABLE payment;
ALTER TABLE payment_in_parts RENAME TO payment;
CREATE INDEX payment_invoice ON payment (invoice_id);
CREATE INDEX payment_merchant ON payment (merchant_id, id);

CREATE TABLE journal_of_parts (
    id            TEXT PRIMARY KEY,
    transfer_id   TEXT NOT NULL REFERENCES transfer (id),
    part          BIGINT NOT NULL,
    epoch         BIGINT NOT NULL,
    kind          TEXT NOT NULL CHECK (kind IN ('credit', 'reversal')),
    at            BIGINT NOT NULL,
    -- at most one credit and one reversal of a part for each inclusion of its transfer
    UNIQUE (transfer_id, part, epoch, kind)
)/*sqlite: WITHOUT ROWID*/;
INSERT INTO journal_of_parts SELECT id, transfer_id, 0, epoch, kind, at FROM journal;

CREATE TABLE ledger_entry_of_parts (
    journal_id    TEXT NOT NULL REFERENCES journal_of_parts (id),
    line          BIGINT NOT NULL,
    account       TEXT NOT NULL,          -- 'chain:<address id>', 'invoice:<id>' or 'customer:<address id>'
    asset_id      TEXT NOT NULL,
    amount        TEXT NOT NULL,          -- signed: a debit is positive, a credit negative
    PRIMARY KEY (journal_id, line)
)/*sqlite: WITHOUT ROWID*/;
INSERT INTO ledger_entry_of_parts SELECT journal_id, line, account, asset_id, amount FROM ledger_entry;
DROP TABLE ledger_entry;
DROP TABLE journal;
ALTER TABLE journal_of_parts RENAME TO journal;
ALTER TABLE ledger_entry_of_parts RENAME TO ledger_entry;

-- A hook whose version in use has the role, as the owner of a queue.
CREATE TABLE matcher (
    id            TEXT PRIMARY KEY REFERENCES hook (id),
    -- the breaker: after many failures in a row it is not asked for a while, and the built-in policy decides
    failures      BIGINT NOT NULL,
    paused_until  BIGINT,
    -- when the first of the transfers that wait for it is due, or earlier; none: nothing waits
    due_at        BIGINT
);
CREATE INDEX matcher_due ON matcher (due_at, id) WHERE due_at IS NOT NULL;

-- Transfers that wait for a matcher. Each is listed as unmatched with the reason 'matching' meanwhile.
CREATE TABLE match_queue (
    transfer_id     TEXT PRIMARY KEY REFERENCES transfer (id),
    matcher_id      TEXT NOT NULL REFERENCES matcher (id),
    due_at          BIGINT NOT NULL,
    fence           BIGINT NOT NULL,
    attempts_before BIGINT NOT NULL
)/*sqlite: WITHOUT ROWID*/;
CREATE INDEX match_queue_due ON match_queue (matcher_id, due_at, transfer_id);

-- One question to a matcher, and what came of it.
CREATE TABLE hook_match (
    id            TEXT PRIMARY KEY,
    hook_id       TEXT NOT NULL REFERENCES hook (id),
    merchant_id   TEXT NOT NULL,
    test          BIGINT NOT NULL CHECK (test IN (0, 1)),
    transfer_id   TEXT NOT NULL REFERENCES transfer (id),
    version_id    TEXT NOT NULL,
    -- failed: it gave no answer, or one that the host did not accept; then the built-in policy decided
    outcome       TEXT NOT NULL CHECK (outcome IN ('pay', 'review', 'pass', 'failed')),
    note          TEXT NOT NULL,          -- why, in its own words or the host's
    question      TEXT NOT NULL,          -- JSON: the transfer, the candidates, the context
    parts         TEXT NOT NULL,          -- JSON: what it pays, a list of {invoice_id, amount}
    at            BIGINT NOT NULL,
    duration_us   BIGINT NOT NULL,
    cpu_us        BIGINT NOT NULL,
    fuel          BIGINT NOT NULL,
    memory_bytes  BIGINT NOT NULL,
    host_calls    BIGINT NOT NULL,
    log           TEXT NOT NULL,          -- JSON: a list of {level, text}
    tape          TEXT NOT NULL           -- JSON: what it asked the host and was answered
);
CREATE INDEX hook_match_hook ON hook_match (hook_id, id);
CREATE INDEX hook_match_transfer ON hook_match (transfer_id);
