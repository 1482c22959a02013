-- The audit log as a chain: the hash of each row covers the row and the hash before it, so a row that was changed, taken
-- out or put in between is found (callreplay audit verify). Rows are chained in the order in which they are committed.
CREATE TABLE audit_chain (
    position bigint PRIMARY KEY,                                 -- from 1 on, without gaps
    audit_id bigint NOT NULL UNIQUE,
    hash     bytea  NOT NULL CHECK (octet_length(hash) = 32)     -- SHA-256 of the hash before and the row's text
);
-- The end of the chain; its one row is locked while a transaction with audit rows commits.
CREATE TABLE audit_head (
    one      boolean PRIMARY KEY DEFAULT true CHECK (one),
    position bigint  NOT NULL,
    hash     bytea   NOT NULL
);

-- What of a row is hashed: all of it, independent of any setting of the session.
CREATE FUNCTION audit_text(a audit_log) RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT jsonb_build_array(a.id, (extract(epoch FROM a.at) * 1000000)::bigint, a.tenant_id, a.actor, a.action,
                             a.object, host(a.address), a.request_id, a.reason, a.detail)::text
$$;

CREATE FUNCTION audit_chain_row() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
    head audit_head;
BEGIN
    INSERT INTO audit_head (position, hash) VALUES (0, sha256('callreplay audit'::bytea)) ON CONFLICT DO NOTHING;
    SELECT * INTO head FROM audit_head FOR UPDATE;
    head.position := head.position + 1;
    head.hash := sha256(head.hash || convert_to(audit_text(NEW), 'UTF8'));
    INSERT INTO audit_chain VALUES (head.position, NEW.id, head.hash);
    UPDATE audit_head SET position = head.position, hash = head.hash;
    RETURN NULL;
END
$$;

-- Whoever is given rights on the log besides its owner can add to it and nothing else.
CREATE FUNCTION audit_append_only() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    IF NOT pg_has_role(current_user, (SELECT relowner FROM pg_class WHERE oid = TG_RELID), 'USAGE') THEN
        RAISE insufficient_privilege USING MESSAGE = 'rows of the audit log are only ever added';
    END IF;
    RETURN NULL;
END
$$;
DO $$
BEGIN
    EXECUTE format('ALTER FUNCTION audit_chain_row() SET search_path = pg_catalog, %I, pg_temp', current_schema());
    EXECUTE format('ALTER FUNCTION audit_append_only() SET search_path = pg_catalog, %I, pg_temp', current_schema());
END
$$;

DO $$
DECLARE
    entry audit_log;
    head  audit_head;
BEGIN
    head.position := 0;
    head.hash := sha256('callreplay audit'::bytea);
    FOR entry IN SELECT * FROM audit_log ORDER BY id LOOP
        head.position := head.position + 1;
        head.hash := sha256(head.hash || convert_to(audit_text(entry), 'UTF8'));
        INSERT INTO audit_chain VALUES (head.position, entry.id, head.hash);
    END LOOP;
    INSERT INTO audit_head (position, hash) VALUES (head.position, head.hash);
END
$$;

-- Deferred to the commit: the end of the chain is locked for as long as that takes, and no lock is waited for after it.
CREATE CONSTRAINT TRIGGER audit_log_chain AFTER INSERT ON audit_log
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION audit_chain_row();
CREATE TRIGGER audit_log_append BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_log
    FOR EACH STATEMENT EXECUTE FUNCTION audit_append_only();
CREATE TRIGGER audit_chain_append BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_chain
    FOR EACH STATEMENT EXECUTE FUNCTION audit_append_only();
