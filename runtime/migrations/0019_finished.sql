-- A delivery that ends was moved within two indexes, for their state. Now it enters them when it ends, and what waits has one
-- of its own, which stays small. Lists of a merchant are ordered as those of an endpoint are, by when a delivery was made.
DROP INDEX delivery_merchant;
CREATE INDEX delivery_merchant ON delivery (merchant_id, test, state, created_at, id /*pg: COLLATE "C"*/)
    WHERE state <> 'pending';
DROP INDEX delivery_endpoint;
CREATE INDEX delivery_endpoint ON delivery (endpoint_id, state, created_at, id /*pg: COLLATE "C"*/) WHERE state <> 'pending';
CREATE INDEX delivery_pending ON delivery (endpoint_id, created_at, id /*pg: COLLATE "C"*/) WHERE state = 'pending';
