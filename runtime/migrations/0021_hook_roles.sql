-- What the version of a hook that is in use can be asked: a role is a row, so that a new one changes no table.

CREATE TABLE hook_role (
    hook_id       TEXT NOT NULL REFERENCES hook (id),
    role          TEXT NOT NULL,          -- domain::hook::Role
    PRIMARY KEY (hook_id, role)
) /*sqlite: WITHOUT ROWID*/;

INSERT INTO hook_role (hook_id, role) SELECT id, 'fulfiller' FROM hook WHERE fulfills = 1;
INSERT INTO hook_role (hook_id, role) SELECT id, 'matcher' FROM hook WHERE matches = 1;
INSERT INTO hook_role (hook_id, role) SELECT id, 'rates' FROM hook WHERE prices = 1;

ALTER TABLE hook DROP COLUMN fulfills;
ALTER TABLE hook DROP COLUMN matches;
ALTER TABLE hook DROP COLUMN prices;
