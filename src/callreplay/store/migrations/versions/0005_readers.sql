-- Clients of the database read what the role callreplay_readonly may: the views, and the tables calls, call_files and
-- storage_volumes. A role is shown the tenants that reader_roles names for it, and none where it names none.
CREATE TABLE reader_roles (
    role       name        NOT NULL,                             -- of a login of the server
    tenant_id  integer     REFERENCES tenants ON DELETE CASCADE, -- NULL: every tenant
    created_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (role, tenant_id)
);

-- Roles that read today go on reading everything, the documented login among them.
INSERT INTO reader_roles (role) VALUES ('callreplay');
INSERT INTO reader_roles (role)
    SELECT m.rolname FROM pg_roles r
      JOIN pg_auth_members a ON a.roleid = r.oid
      JOIN pg_roles m ON m.oid = a.member
     WHERE r.rolname = 'callreplay_readonly' AND m.rolname NOT IN ('callreplay', current_user)
     GROUP BY m.rolname;

-- The tenants that the session's login may see. Asked once for a statement, not for a row.
CREATE FUNCTION reader_tenants() RETURNS integer[]
LANGUAGE sql STABLE PARALLEL SAFE SECURITY DEFINER AS $$
    SELECT CASE WHEN pg_has_role(session_user, (SELECT relowner FROM pg_class WHERE oid = 'calls'::regclass), 'USAGE')
                  OR EXISTS (SELECT FROM reader_roles WHERE role = session_user AND tenant_id IS NULL)
                THEN ARRAY(SELECT id FROM tenants)
                ELSE ARRAY(SELECT tenant_id FROM reader_roles WHERE role = session_user) END
$$;
DO $$
BEGIN
    -- Nothing of a caller's search_path takes the place of these tables.
    EXECUTE format('ALTER FUNCTION reader_tenants() SET search_path = pg_catalog, %I, pg_temp', current_schema());
END
$$;

-- Row security holds for every role but the owner.
ALTER TABLE calls       ENABLE ROW LEVEL SECURITY;
ALTER TABLE call_files  ENABLE ROW LEVEL SECURITY;
ALTER TABLE call_events ENABLE ROW LEVEL SECURITY;
ALTER TABLE tags        ENABLE ROW LEVEL SECURITY;
CREATE POLICY readers ON calls FOR SELECT
    USING (tenant_id = ANY ((SELECT reader_tenants())::integer[]));
CREATE POLICY readers ON call_files FOR SELECT
    USING (EXISTS (SELECT FROM calls c WHERE c.uuid = call_uuid));
CREATE POLICY readers ON call_events FOR SELECT
    USING (EXISTS (SELECT FROM calls c WHERE c.uuid = call_uuid));
CREATE POLICY readers ON tags FOR SELECT
    USING (tenant_id = ANY ((SELECT reader_tenants())::integer[]));
CREATE POLICY writers ON calls
    USING (tenant_id = ANY ((SELECT reader_tenants())::integer[]));
CREATE POLICY writers ON call_files
    USING (EXISTS (SELECT FROM calls c WHERE c.uuid = call_uuid));
CREATE POLICY writers ON call_events
    USING (EXISTS (SELECT FROM calls c WHERE c.uuid = call_uuid));
CREATE POLICY writers ON tags
    USING (tenant_id = ANY ((SELECT reader_tenants())::integer[]));

-- A view reads with its owner's rights, which row security does not hold for: it has the condition itself.
CREATE OR REPLACE VIEW call_list AS
    SELECT c.uuid, t.name AS tenant, c.wire_call_id, c.protocol, c.status, c.started_at, c.answered_at, c.ended_at,
           c.duration_ms, c.caller_number, c.caller_name, c.caller_ip, c.caller_port, c.caller_mac,
           c.called_number, c.called_name, c.called_ip, c.called_port, c.called_mac,
           c.description, c.tags, c.legal_hold
      FROM calls c JOIN tenants t ON t.id = c.tenant_id
     WHERE c.tenant_id = ANY ((SELECT reader_tenants())::integer[]);

CREATE OR REPLACE VIEW call_media AS
    SELECT f.call_uuid, t.name AS tenant, f.leg, f.position, f.volume_id, f.path, f.format, f.size_bytes,
           encode(f.sha256, 'hex') AS sha256, f.codec, f.clock_rate, f.ssrc, f.started_at, f.duration_ms,
           f.packets, f.lost, CASE WHEN f.packets + f.lost > 0
                                   THEN 100.0 * f.lost / (f.packets + f.lost) ELSE 0 END AS loss_percent,
           f.jitter_ms, f.mos
      FROM call_files f JOIN calls c ON c.uuid = f.call_uuid JOIN tenants t ON t.id = c.tenant_id
     WHERE c.tenant_id = ANY ((SELECT reader_tenants())::integer[]);

-- What the two roles may. Where the owner may not create roles, an administrator does it (docs/database.md).
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'callreplay_readonly') THEN
        CREATE ROLE callreplay_readonly NOLOGIN;
    END IF;
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'callreplay_writer') THEN
        CREATE ROLE callreplay_writer NOLOGIN;
    END IF;
EXCEPTION WHEN insufficient_privilege THEN
    RAISE NOTICE 'roles were not made: the database user may not create roles';
END
$$;
DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'callreplay_readonly') THEN
        EXECUTE format('GRANT CONNECT ON DATABASE %I TO callreplay_readonly', current_database());
        EXECUTE format('GRANT USAGE ON SCHEMA %I TO callreplay_readonly', current_schema());
        GRANT SELECT ON call_list, call_media, volume_usage, calls, call_files, storage_volumes TO callreplay_readonly;
    END IF;
    -- Granted to callreplay by the switch --db-writes, to others by an administrator: calls and what belongs to them,
    -- never volumes, users, settings or the audit log.
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'callreplay_writer') THEN
        EXECUTE format('GRANT USAGE ON SCHEMA %I TO callreplay_writer', current_schema());
        GRANT SELECT, INSERT, UPDATE, DELETE ON calls, call_files, call_events, tags TO callreplay_writer;
        EXECUTE format('GRANT USAGE ON SEQUENCE %s, %s TO callreplay_writer',
                       pg_get_serial_sequence('call_files', 'id'), pg_get_serial_sequence('call_events', 'id'));
    END IF;
END
$$;
