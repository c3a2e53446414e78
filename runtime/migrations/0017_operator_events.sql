-- Merchants whose endpoints and hooks are told what concerns the operator.
ALTER TABLE merchant ADD COLUMN operator_events BIGINT NOT NULL DEFAULT 0 CHECK (operator_events IN (0, 1));

-- Networks of which it was told that no provider gives a good answer, until one does.
CREATE TABLE stall (
    network       TEXT PRIMARY KEY REFERENCES network (name),
    since         BIGINT NOT NULL         -- by the database's clock
)/*sqlite: WITHOUT ROWID*/;

-- Whether it was told that calls of this kind are no longer made.
ALTER TABLE first_call ADD COLUMN told BIGINT NOT NULL DEFAULT 0 CHECK (told IN (0, 1));
