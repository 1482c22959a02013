-- Where users have logged in from: a stranger's guesses do not keep an address out that its user has come from.
-- The newest of each user are kept.
CREATE TABLE login_addresses (
    user_id integer     NOT NULL REFERENCES users ON DELETE CASCADE,
    address bytea       NOT NULL,                                -- hashed like the keys of login_failures
    seen_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (user_id, address)
);
CREATE INDEX login_failures_age ON login_failures (failed_at);
