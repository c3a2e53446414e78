-- What providers say of a transfer that two of them have to have seen (network manifest: `agreed`). One row a transfer: of
-- the block that it is in; what was said of another block says nothing.
CREATE TABLE agreement (
    transfer_id   TEXT PRIMARY KEY REFERENCES transfer (id),
    block_hash    TEXT NOT NULL,
    -- agreed: two have seen it; disputed: one says otherwise; alone: there is no second one to ask
    state         TEXT NOT NULL CHECK (state IN ('agreed', 'disputed', 'alone')),
    at            BIGINT NOT NULL
)/*sqlite: WITHOUT ROWID*/;
