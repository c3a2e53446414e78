-- Native coin that a contract sends shows in no transaction's top level. Where nobody traces, balances are compared.

-- seen: a transaction moved it; rise: a balance rose by it, and no transaction that was seen explains that
ALTER TABLE transfer ADD COLUMN kind TEXT NOT NULL DEFAULT 'seen' CHECK (kind IN ('seen', 'rise'));

-- What addresses hold on which native coin is waited for. A row is here while that is so.
CREATE TABLE balance (
    address_id    TEXT PRIMARY KEY REFERENCES receive_address (id),
    network       TEXT NOT NULL,
    height        BIGINT NOT NULL,        -- a block that was final
    amount        TEXT,                   -- held at its end; none: not read yet
    until         BIGINT NOT NULL         -- it is waited for until the chain's time is past this
)/*sqlite: WITHOUT ROWID*/;
CREATE INDEX balance_next ON balance (network, height);
