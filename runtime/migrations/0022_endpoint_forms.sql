-- What an endpoint's deliveries look like on the wire; none: the form `standard`. Otherwise a hook of the same merchant
-- and mode, which is not deleted while it is in use here.

ALTER TABLE endpoint ADD COLUMN form_hook_id TEXT REFERENCES hook (id);
CREATE INDEX endpoint_form ON endpoint (form_hook_id) WHERE form_hook_id IS NOT NULL;
