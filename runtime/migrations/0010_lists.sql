-- Each list that the API offers is read by an index, with each of its filters, however much of it there is. On PostgreSQL
-- lists are ordered by a collation of their own: it would walk the primary key otherwise, which has the same order, in the
-- belief that what is looked for lies everywhere in it.

-- ---------------------------------------------------------------- test or live

-- As its network is. Written down with each row, since a list of the one must not walk past all of the other.
ALTER TABLE receive_address ADD COLUMN test BIGINT NOT NULL DEFAULT 0 CHECK (test IN (0, 1));
UPDATE receive_address SET test = (SELECT n.test FROM network n WHERE n.name = receive_address.network);
CREATE INDEX receive_address_merchant ON receive_address (merchant_id, test, id /*pg: COLLATE "C"*/) WHERE kind <> 'invoice';

ALTER TABLE transfer ADD COLUMN test BIGINT NOT NULL DEFAULT 0 CHECK (test IN (0, 1));
UPDATE transfer SET test = (SELECT n.test FROM network n WHERE n.name = transfer.network);
DROP INDEX transfer_merchant;
CREATE INDEX transfer_merchant ON transfer (merchant_id, test, id /*pg: COLLATE "C"*/);

ALTER TABLE payment ADD COLUMN test BIGINT NOT NULL DEFAULT 0 CHECK (test IN (0, 1));
UPDATE payment SET test = (SELECT t.test FROM transfer t WHERE t.id = payment.transfer_id);
DROP INDEX payment_merchant;
CREATE INDEX payment_merchant ON payment (merchant_id, test, id /*pg: COLLATE "C"*/);
DROP INDEX payment_invoice;
CREATE INDEX payment_invoice ON payment (invoice_id, id /*pg: COLLATE "C"*/);

ALTER TABLE unmatched ADD COLUMN test BIGINT NOT NULL DEFAULT 0 CHECK (test IN (0, 1));
UPDATE unmatched SET test = (SELECT t.test FROM transfer t WHERE t.id = unmatched.transfer_id);
DROP INDEX unmatched_open;
CREATE INDEX unmatched_open ON unmatched (merchant_id, test, transfer_id /*pg: COLLATE "C"*/) WHERE state = 'open';

-- ---------------------------------------------------------------- by status

-- One index for each list: without a filter the newest of every status are put together.
DROP INDEX invoice_merchant;
CREATE INDEX invoice_merchant ON invoice (merchant_id, test, status, id /*pg: COLLATE "C"*/);
DROP INDEX delivery_merchant;
CREATE INDEX delivery_merchant ON delivery (merchant_id, test, state, id /*pg: COLLATE "C"*/);
DROP INDEX delivery_endpoint;
CREATE INDEX delivery_endpoint ON delivery (endpoint_id, state, created_at, id /*pg: COLLATE "C"*/);
DROP INDEX hook_run_merchant;
CREATE INDEX hook_run_merchant ON hook_run (merchant_id, test, state, id /*pg: COLLATE "C"*/);
DROP INDEX hook_run_hook;
CREATE INDEX hook_run_hook ON hook_run (hook_id, state, id /*pg: COLLATE "C"*/);

-- ---------------------------------------------------------------- of one thing

CREATE INDEX event_invoice ON event (invoice_id, id /*pg: COLLATE "C"*/) WHERE invoice_id IS NOT NULL;
DROP INDEX event_merchant;
CREATE INDEX event_merchant ON event (merchant_id, test, id /*pg: COLLATE "C"*/);
DROP INDEX correction_merchant;
CREATE INDEX correction_merchant ON correction (merchant_id, test, id /*pg: COLLATE "C"*/);
DROP INDEX correction_invoice;
CREATE INDEX correction_invoice ON correction (invoice_id, id /*pg: COLLATE "C"*/) WHERE invoice_id IS NOT NULL;
DROP INDEX correction_transfer;
CREATE INDEX correction_transfer ON correction (transfer_id, id /*pg: COLLATE "C"*/) WHERE transfer_id IS NOT NULL;

-- What was deleted is not walked past either.
DROP INDEX endpoint_merchant;
CREATE INDEX endpoint_merchant ON endpoint (merchant_id, test, id /*pg: COLLATE "C"*/) WHERE deleted_at IS NULL;
DROP INDEX hook_merchant;
CREATE INDEX hook_merchant ON hook (merchant_id, test, id /*pg: COLLATE "C"*/) WHERE deleted_at IS NULL;
DROP INDEX hook_match_hook;
CREATE INDEX hook_match_hook ON hook_match (hook_id, id /*pg: COLLATE "C"*/);
DROP INDEX api_key_merchant;
CREATE INDEX api_key_merchant ON api_key (merchant_id, id /*pg: COLLATE "C"*/);
