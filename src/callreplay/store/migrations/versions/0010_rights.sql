-- A role is a set of rights; a user may be bound to a part of the calls; a token has some of its owner's rights.
CREATE TABLE roles (
    name     text    PRIMARY KEY CHECK (name ~ '^[a-z][a-z0-9_-]{0,30}$'),
    rights   text[]  NOT NULL CHECK (rights <@ ARRAY['search', 'play', 'download', 'rtp', 'edit', 'delete', 'audit',
                                                     'administer']),
    built_in boolean NOT NULL DEFAULT false
);
INSERT INTO roles VALUES
    ('admin', ARRAY['search', 'play', 'download', 'rtp', 'edit', 'delete', 'audit', 'administer'], true),
    ('auditor', ARRAY['search', 'play', 'download', 'rtp', 'edit', 'audit'], true),
    ('user', ARRAY['search', 'play', 'download', 'rtp', 'edit'], true),
    ('listener', ARRAY['search', 'play'], true);

ALTER TABLE users DROP CONSTRAINT users_role_check;
ALTER TABLE users ADD CONSTRAINT users_role FOREIGN KEY (role) REFERENCES roles ON UPDATE CASCADE;
-- Lines of the search's own parameters (callerNumber=…&tag=…): only calls that meet one of them. '' = all.
ALTER TABLE users ADD COLUMN scope text NOT NULL DEFAULT '';

-- NULL = all that the owner has.
ALTER TABLE api_tokens ADD COLUMN rights text[] CHECK (rights <@ ARRAY['search', 'play', 'download', 'rtp']);
ALTER TABLE api_tokens ADD COLUMN made_by text NOT NULL DEFAULT '';

-- What leads a frame on another site to its page, where no cookie of ours goes: used once, and soon.
CREATE TABLE session_tickets (
    ticket_hash  bytea       PRIMARY KEY,                        -- SHA-256 of the ticket
    session_hash bytea       NOT NULL REFERENCES sessions ON DELETE CASCADE,
    expires_at   timestamptz NOT NULL
);
CREATE INDEX session_tickets_session ON session_tickets (session_hash);
CREATE INDEX session_tickets_expiry ON session_tickets (expires_at);
