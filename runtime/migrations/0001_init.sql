-- One history for SQLite and PostgreSQL. What both take: BIGINT, TEXT, BYTEA; times are milliseconds since
-- 1970; truth values are 0 and 1; amounts are decimal text of base units (128 bits do not fit a BIGINT).
-- Ids are a prefix and 26 characters that sort by time. What only SQLite needs stands in a comment that
-- PostgreSQL skips: a table WITHOUT ROWID is its own index of the primary key, one tree less to write.

-- ---------------------------------------------------------------- who

CREATE TABLE merchant (
    id            TEXT PRIMARY KEY,
    name          TEXT NOT NULL,
    -- partial, over and late payments: domain::policy as JSON
    policy        TEXT NOT NULL,
    created_at    BIGINT NOT NULL,
    disabled_at   BIGINT
);

CREATE TABLE api_key (
    id            TEXT PRIMARY KEY,
    -- none: an operator's key
    merchant_id   TEXT REFERENCES merchant (id),
    mode          TEXT NOT NULL CHECK (mode IN ('operator', 'live', 'test')),
    name          TEXT NOT NULL,
    -- the first characters, to tell keys apart in a list
    prefix        TEXT NOT NULL,
    -- HMAC-SHA256(pepper, key): a stolen table opens nothing
    hash          BYTEA NOT NULL UNIQUE,
    created_at    BIGINT NOT NULL,
    expires_at    BIGINT,
    revoked_at    BIGINT,
    CHECK ((mode = 'operator') = (merchant_id IS NULL))
);
CREATE INDEX api_key_merchant ON api_key (merchant_id, id);

-- One answer for one Idempotency-Key, written in the transaction of its effect.
CREATE TABLE idempotency (
    owner         TEXT NOT NULL,          -- merchant id and mode, or 'operator'
    key           TEXT NOT NULL,
    fingerprint   BYTEA NOT NULL,         -- SHA-256 of method, path and raw body
    status        BIGINT NOT NULL,
    body          BYTEA NOT NULL,
    created_at    BIGINT NOT NULL,
    PRIMARY KEY (owner, key)
);
CREATE INDEX idempotency_age ON idempotency (created_at);

-- ---------------------------------------------------------------- plugins

CREATE TABLE artefact (
    sha256        TEXT PRIMARY KEY,       -- lower hex of the component's bytes
    wasm          BYTEA NOT NULL,
    created_at    BIGINT NOT NULL
);

CREATE TABLE plugin (
    name          TEXT PRIMARY KEY,
    active_id     TEXT,                   -- plugin_version in use; none: unloaded
    -- counts every activation, so that other replicas see a change by one small query
    generation    BIGINT NOT NULL,
    created_at    BIGINT NOT NULL
);

CREATE TABLE plugin_version (
    id            TEXT PRIMARY KEY,
    plugin        TEXT NOT NULL REFERENCES plugin (name),
    version       TEXT NOT NULL,
    sha256        TEXT NOT NULL REFERENCES artefact (sha256),
    manifest      TEXT NOT NULL,          -- JSON, as read from the artefact
    grants        TEXT NOT NULL,          -- JSON, what the operator allows
    -- embedded: came with the binary, a newer binary may replace it; uploaded: only the operator replaces it
    origin        TEXT NOT NULL CHECK (origin IN ('embedded', 'uploaded')),
    created_at    BIGINT NOT NULL,
    UNIQUE (plugin, sha256)
);

-- Every activation, the newest last: a rollback activates the one before.
CREATE TABLE plugin_activation (
    plugin        TEXT NOT NULL REFERENCES plugin (name),
    generation    BIGINT NOT NULL,
    version_id    TEXT REFERENCES plugin_version (id),   -- none: unloaded
    at            BIGINT NOT NULL,
    PRIMARY KEY (plugin, generation)
);

-- scope: plugin and network (chains) or hook and merchant
CREATE TABLE plugin_storage (
    scope         TEXT NOT NULL,
    key           TEXT NOT NULL,
    value         BYTEA NOT NULL,
    PRIMARY KEY (scope, key)
);

-- ---------------------------------------------------------------- networks

CREATE TABLE network (
    name          TEXT PRIMARY KEY,
    plugin        TEXT NOT NULL,
    manifest      TEXT NOT NULL,          -- JSON of the network's manifest
    test          BIGINT NOT NULL CHECK (test IN (0, 1)),
    enabled       BIGINT NOT NULL CHECK (enabled IN (0, 1)),
    created_at    BIGINT NOT NULL
);

CREATE TABLE asset (
    id            TEXT PRIMARY KEY,       -- 'base:native' or 'base:0x8335…'
    network       TEXT NOT NULL REFERENCES network (name),
    symbol        TEXT NOT NULL,
    contract      TEXT,
    decimals      BIGINT NOT NULL CHECK (decimals BETWEEN 0 AND 30),
    UNIQUE (network, symbol)
);

CREATE TABLE upstream (
    id            TEXT PRIMARY KEY,
    network       TEXT NOT NULL REFERENCES network (name),
    url           TEXT NOT NULL,
    -- sealed JSON object of secret headers, bound to this row's id
    headers       BYTEA,
    rate_per_s    BIGINT NOT NULL CHECK (rate_per_s > 0),
    priority      BIGINT NOT NULL,        -- lower is asked first
    created_at    BIGINT NOT NULL
);
CREATE INDEX upstream_network ON upstream (network, priority, id);

-- ---------------------------------------------------------------- where payers pay

-- A key from which receive addresses are derived. Public: nothing here can spend.
CREATE TABLE extended_key (
    id            TEXT PRIMARY KEY,
    merchant_id   TEXT NOT NULL REFERENCES merchant (id),
    network       TEXT NOT NULL REFERENCES network (name),
    public_key    TEXT NOT NULL,
    next_index    BIGINT NOT NULL,
    created_at    BIGINT NOT NULL,
    UNIQUE (network, public_key),
    UNIQUE (merchant_id, network)
);

CREATE TABLE receive_address (
    id            TEXT PRIMARY KEY,
    merchant_id   TEXT NOT NULL REFERENCES merchant (id),
    network       TEXT NOT NULL REFERENCES network (name),
    address       TEXT NOT NULL,
    key           BYTEA NOT NULL,
    -- shared: told apart by amount or memo; customer: all that arrives is this customer's; invoice: one invoice's own
    kind          TEXT NOT NULL CHECK (kind IN ('shared', 'customer', 'invoice')),
    unique_id     TEXT,
    meta          TEXT,
    derived_index BIGINT,
    -- order of commit within the network: how watchers learn of new ones (see address_counter)
    seq           BIGINT NOT NULL,
    created_at    BIGINT NOT NULL,
    -- an address belongs to one merchant: two could not be told apart
    UNIQUE (network, address),
    UNIQUE (network, seq)
);
CREATE UNIQUE INDEX receive_address_shared ON receive_address (merchant_id, network) WHERE kind = 'shared';
CREATE UNIQUE INDEX receive_address_unique_id ON receive_address (merchant_id, network, unique_id) WHERE unique_id IS NOT NULL;

-- The row lock of this counter makes seq the order of commit, which a sequence would not be.
CREATE TABLE address_counter (
    network       TEXT PRIMARY KEY REFERENCES network (name),
    seq           BIGINT NOT NULL
);

-- ---------------------------------------------------------------- what the watcher of a network writes

-- The cursor moves in the transaction of the facts that it passes, and only under the current fence.
CREATE TABLE cursor (
    network       TEXT PRIMARY KEY REFERENCES network (name),
    height        BIGINT NOT NULL,
    hash          TEXT NOT NULL,
    head          BIGINT NOT NULL,
    safe          BIGINT,
    final         BIGINT NOT NULL,
    fence         BIGINT NOT NULL,
    moved_at      BIGINT NOT NULL,
    -- set when a reorg reached below what was final: nothing moves until the operator decides
    frozen        TEXT,
    frozen_at     BIGINT
);

-- Blocks read, from the last final one upwards: what a reorg is found by.
CREATE TABLE block (
    network       TEXT NOT NULL,
    height        BIGINT NOT NULL,
    hash          TEXT NOT NULL,
    parent        TEXT NOT NULL,
    time          BIGINT NOT NULL,
    PRIMARY KEY (network, height)
);

CREATE TABLE transfer (
    id            TEXT PRIMARY KEY,
    network       TEXT NOT NULL,
    tx            TEXT NOT NULL,
    ordinal       BIGINT NOT NULL,
    asset_id      TEXT NOT NULL REFERENCES asset (id),
    address_id    TEXT NOT NULL REFERENCES receive_address (id),
    merchant_id   TEXT NOT NULL REFERENCES merchant (id),
    sender        TEXT,
    amount        TEXT,                   -- none: more than 128 bits
    memo          TEXT,
    memo_problem  TEXT,                   -- why the memo cannot be read
    height        BIGINT NOT NULL,
    block_hash    TEXT NOT NULL,
    block_time    BIGINT NOT NULL,
    -- included: in a block; confirmed: deep enough to credit; final: for good; retracted: reorged out
    status        TEXT NOT NULL CHECK (status IN ('included', 'confirmed', 'final', 'retracted')),
    -- how often it was included: a re-inclusion after a retraction is a new epoch
    epoch         BIGINT NOT NULL CHECK (epoch >= 1),
    seen_at       BIGINT NOT NULL,
    -- one movement on chain is one row, whatever block it moves to
    UNIQUE (network, tx, ordinal)
);
CREATE INDEX transfer_height ON transfer (network, height);
CREATE INDEX transfer_open ON transfer (network, height) WHERE status IN ('included', 'confirmed');
CREATE INDEX transfer_merchant ON transfer (merchant_id, id);

-- Each change of a transfer, in order. Settle reads it once, by its own cursor.
CREATE TABLE sighting (
    network       TEXT NOT NULL,
    seq           BIGINT NOT NULL,
    transfer_id   TEXT NOT NULL REFERENCES transfer (id),
    kind          TEXT NOT NULL CHECK (kind IN ('included', 'confirmed', 'retracted')),
    epoch         BIGINT NOT NULL,
    height        BIGINT NOT NULL,
    block_hash    TEXT NOT NULL,
    at            BIGINT NOT NULL,
    PRIMARY KEY (network, seq)
)/*sqlite: WITHOUT ROWID*/;

-- ---------------------------------------------------------------- invoices

CREATE TABLE invoice (
    id            TEXT PRIMARY KEY,
    merchant_id   TEXT NOT NULL REFERENCES merchant (id),
    test          BIGINT NOT NULL CHECK (test IN (0, 1)),
    order_id      TEXT,
    title         TEXT NOT NULL,
    tag           TEXT,
    meta          TEXT,
    network       TEXT NOT NULL REFERENCES network (name),
    asset_id      TEXT NOT NULL REFERENCES asset (id),
    address_id    TEXT NOT NULL REFERENCES receive_address (id),
    -- how a payment is recognised
    matching      TEXT NOT NULL CHECK (matching IN ('amount', 'memo', 'address')),
    memo          TEXT,
    currency      TEXT,                   -- what it was priced in, if not in the asset
    price         TEXT,                   -- decimal in that currency
    amount        TEXT NOT NULL,          -- asked for
    due           TEXT NOT NULL,          -- to be paid: amount and its unique suffix
    status        TEXT NOT NULL CHECK (status IN ('new', 'detected', 'underpaid', 'paid', 'overpaid', 'expired', 'manual_review', 'cancelled')),
    exception     TEXT NOT NULL CHECK (exception IN ('none', 'partial', 'over', 'late', 'manual', 'reorged')),
    pending       TEXT NOT NULL,          -- matched, not yet credited
    credited      TEXT NOT NULL,
    -- counts its events: a receiver can order them
    sequence      BIGINT NOT NULL,
    payment_uri   TEXT,                   -- what a wallet opens
    policy        TEXT NOT NULL,          -- the merchant's policy when it was made
    head          BIGINT NOT NULL,        -- the network's head when it was made: what is below was paid before
    created_at    BIGINT NOT NULL,
    expires_at    BIGINT NOT NULL,
    held_until    BIGINT NOT NULL,        -- until then a late payment is still told apart
    expired_at    BIGINT,
    cancelled_at  BIGINT,
    paid_at       BIGINT
);
CREATE UNIQUE INDEX invoice_order ON invoice (merchant_id, test, order_id) WHERE order_id IS NOT NULL;
CREATE INDEX invoice_merchant ON invoice (merchant_id, test, id);
CREATE INDEX invoice_expiry ON invoice (expires_at) WHERE expired_at IS NULL AND cancelled_at IS NULL AND status IN ('new', 'detected', 'underpaid');
CREATE INDEX invoice_address ON invoice (address_id) WHERE matching = 'address';

-- What tells payments on a shared address apart, while it is held: one invoice for each key.
CREATE TABLE hold (
    key           TEXT PRIMARY KEY,       -- 'address_id/asset_id=due' or 'address_id/memo=text'
    ring          TEXT NOT NULL,          -- 'address_id/asset_id=price': the amounts that share a price
    invoice_id    TEXT NOT NULL,
    held_until    BIGINT NOT NULL
)/*sqlite: WITHOUT ROWID*/;
CREATE INDEX hold_ring ON hold (ring);
CREATE INDEX hold_age ON hold (held_until);

-- ---------------------------------------------------------------- what settle writes

CREATE TABLE settle_cursor (
    network       TEXT PRIMARY KEY,
    seq           BIGINT NOT NULL,
    fence         BIGINT NOT NULL
);

-- A transfer and what it pays. One row a transfer: it can pay one thing only.
CREATE TABLE payment (
    id            TEXT PRIMARY KEY,
    transfer_id   TEXT NOT NULL UNIQUE REFERENCES transfer (id),
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
    credited_at   BIGINT
)/*sqlite: WITHOUT ROWID*/;
CREATE INDEX payment_invoice ON payment (invoice_id);
CREATE INDEX payment_merchant ON payment (merchant_id, id);

-- A transfer that pays nothing by itself, and why. It stays until a person assigns or dismisses it.
CREATE TABLE unmatched (
    transfer_id   TEXT PRIMARY KEY REFERENCES transfer (id),
    merchant_id   TEXT NOT NULL REFERENCES merchant (id),
    reason        TEXT NOT NULL,
    invoice_id    TEXT,                   -- the invoice that it may be meant for
    state         TEXT NOT NULL CHECK (state IN ('open', 'assigned', 'dismissed')),
    created_at    BIGINT NOT NULL,
    resolved_at   BIGINT
);
CREATE INDEX unmatched_open ON unmatched (merchant_id, transfer_id) WHERE state = 'open';
CREATE INDEX unmatched_invoice ON unmatched (invoice_id) WHERE state = 'open' AND invoice_id IS NOT NULL;

-- Money is only added to. A credit and a reversal are journals of two entries that balance to zero.
CREATE TABLE journal (
    id            TEXT PRIMARY KEY,
    transfer_id   TEXT NOT NULL REFERENCES transfer (id),
    epoch         BIGINT NOT NULL,
    kind          TEXT NOT NULL CHECK (kind IN ('credit', 'reversal')),
    at            BIGINT NOT NULL,
    -- at most one credit and one reversal for each inclusion of a transfer
    UNIQUE (transfer_id, epoch, kind)
)/*sqlite: WITHOUT ROWID*/;

CREATE TABLE ledger_entry (
    journal_id    TEXT NOT NULL REFERENCES journal (id),
    line          BIGINT NOT NULL,
    account       TEXT NOT NULL,          -- 'chain:<address id>', 'invoice:<id>' or 'customer:<address id>'
    asset_id      TEXT NOT NULL,
    amount        TEXT NOT NULL,          -- signed: a debit is positive, a credit negative
    PRIMARY KEY (journal_id, line)
)/*sqlite: WITHOUT ROWID*/;

-- ---------------------------------------------------------------- what merchants are told

CREATE TABLE event (
    id            TEXT PRIMARY KEY,
    merchant_id   TEXT NOT NULL REFERENCES merchant (id),
    test          BIGINT NOT NULL CHECK (test IN (0, 1)),
    kind          TEXT NOT NULL,
    invoice_id    TEXT,
    transfer_id   TEXT,
    sequence      BIGINT NOT NULL,        -- within the invoice; 0 without one
    payload       TEXT NOT NULL,
    created_at    BIGINT NOT NULL
);
CREATE INDEX event_merchant ON event (merchant_id, test, id);

-- Events that dispatch has not fanned out yet.
CREATE TABLE dispatch_queue (
    event_id      TEXT PRIMARY KEY
)/*sqlite: WITHOUT ROWID*/;

CREATE TABLE endpoint (
    id            TEXT PRIMARY KEY,
    merchant_id   TEXT NOT NULL REFERENCES merchant (id),
    test          BIGINT NOT NULL CHECK (test IN (0, 1)),
    url           TEXT NOT NULL,
    events        TEXT,                   -- JSON list of kinds; none: all
    secret        BYTEA NOT NULL,         -- sealed, bound to this row's id
    old_secret    BYTEA,                  -- signs too until old_until
    old_until     BIGINT,
    state         TEXT NOT NULL CHECK (state IN ('active', 'disabled')),
    disabled_why  TEXT,
    -- the breaker: after many failures in a row deliveries wait here, none is dropped
    failures      BIGINT NOT NULL,
    paused_until  BIGINT,
    -- when the first of its waiting deliveries is due, or earlier; none: nothing waits
    due_at        BIGINT,
    created_at    BIGINT NOT NULL
);
CREATE INDEX endpoint_merchant ON endpoint (merchant_id, test, id);
CREATE INDEX endpoint_due ON endpoint (due_at, id) WHERE due_at IS NOT NULL AND state = 'active';

-- One event owed to one endpoint.
CREATE TABLE delivery (
    id            TEXT PRIMARY KEY,
    event_id      TEXT NOT NULL REFERENCES event (id),
    endpoint_id   TEXT NOT NULL REFERENCES endpoint (id),
    merchant_id   TEXT NOT NULL,
    test          BIGINT NOT NULL CHECK (test IN (0, 1)),
    state         TEXT NOT NULL CHECK (state IN ('pending', 'delivered', 'exhausted')),
    attempts      BIGINT NOT NULL,
    created_at    BIGINT NOT NULL,
    done_at       BIGINT,
    UNIQUE (event_id, endpoint_id)
);
CREATE INDEX delivery_endpoint ON delivery (endpoint_id, created_at, id);
CREATE INDEX delivery_merchant ON delivery (merchant_id, test, id);

-- The narrow table that workers claim from. A row is here exactly while its delivery is pending.
CREATE TABLE delivery_queue (
    delivery_id     TEXT PRIMARY KEY REFERENCES delivery (id),
    endpoint_id     TEXT NOT NULL,
    -- when it may be claimed; a claim moves it to the end of its lease
    due_at          BIGINT NOT NULL,
    -- counts claims; a finish with an older fence is stale and changes nothing
    fence           BIGINT NOT NULL,
    -- made before the present round: a resend begins a new one
    attempts_before BIGINT NOT NULL
)/*sqlite: WITHOUT ROWID*/;
CREATE INDEX delivery_queue_due ON delivery_queue (endpoint_id, due_at, delivery_id);

CREATE TABLE attempt (
    delivery_id   TEXT NOT NULL REFERENCES delivery (id),
    number        BIGINT NOT NULL,
    at            BIGINT NOT NULL,
    duration_ms   BIGINT NOT NULL,
    status        BIGINT,                 -- HTTP status, if one came
    error         TEXT,                   -- why it does not count, if it does not
    response      TEXT,                   -- the first bytes of the answer
    PRIMARY KEY (delivery_id, number)
);

-- ---------------------------------------------------------------- who works on what

-- A lease gives progress, never correctness: what it guards checks the fence as well.
CREATE TABLE lease (
    resource      TEXT PRIMARY KEY,
    holder        TEXT NOT NULL,
    fence         BIGINT NOT NULL,
    expires_at    BIGINT NOT NULL         -- by the database's clock
);
