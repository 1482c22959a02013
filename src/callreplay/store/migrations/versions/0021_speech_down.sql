CREATE VIEW call_list AS
    SELECT c.uuid, t.name AS tenant, c.wire_call_id, c.protocol, c.status, c.started_at, c.answered_at, c.ended_at,
           c.duration_ms, c.caller_number, c.caller_name, c.caller_ip, c.caller_port, c.caller_mac,
           c.called_number, c.called_name, c.called_ip, c.called_port, c.called_mac,
           c.description, c.tags, c.legal_hold
      FROM calls c JOIN tenants t ON t.id = c.tenant_id
     WHERE c.tenant_id = ANY ((SELECT reader_tenants())::integer[]);
DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'callreplay_readonly') THEN
        GRANT SELECT ON call_list TO callreplay_readonly;
    END IF;
END
$$;
