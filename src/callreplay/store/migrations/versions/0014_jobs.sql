-- What is done over minutes and hours, by whichever process: how far it is, and whether somebody wants it stopped.
CREATE TABLE jobs (
    id              bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant_id       integer     REFERENCES tenants,              -- NULL: of the whole installation
    kind            text        NOT NULL,                        -- import, batch, export, join, retain, erase
    what            text        NOT NULL DEFAULT '',             -- paths, a query, a number
    actor           text        NOT NULL,
    state           text        NOT NULL DEFAULT 'running' CHECK (state IN ('running', 'done', 'failed', 'cancelled')),
    done            bigint      NOT NULL DEFAULT 0,
    total           bigint,                                      -- NULL: not known
    result          jsonb       NOT NULL DEFAULT '{}',
    error           text        NOT NULL DEFAULT '',
    started_at      timestamptz NOT NULL DEFAULT now(),
    seen_at         timestamptz NOT NULL DEFAULT now(),          -- when its process was last heard of
    ended_at        timestamptz,
    cancel_asked_at timestamptz
);
CREATE INDEX jobs_running ON jobs (id) WHERE state = 'running';
