-- What a process called first of all of a plugin, for a worker and a network, and of which nothing was heard since: what ends
-- a process is not called for ever.
CREATE TABLE first_call (
    resource      TEXT PRIMARY KEY,       -- 'observe/<network>', 'rescan/<network>', 'balances/<network>'
    network       TEXT NOT NULL REFERENCES network (name),
    version_id    TEXT NOT NULL,          -- of the plugin: another one is not suspected
    unheard       BIGINT NOT NULL         -- calls in a row
)/*sqlite: WITHOUT ROWID*/;
CREATE INDEX first_call_network ON first_call (network);
