-- When a provider of a network has answered its watcher well: so that replicas know whether what another reads stalls.
CREATE TABLE reading (
    network       TEXT PRIMARY KEY REFERENCES network (name),
    heard_at      BIGINT NOT NULL         -- by the database's clock
)/*sqlite: WITHOUT ROWID*/;
