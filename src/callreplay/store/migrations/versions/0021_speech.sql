-- Who talks how long in a call, where somebody found out; NULL: not known. Of a call, of which the caller, the called.
-- Columns without a default are added at once, however many calls there are. What has to be waited for is whoever reads
-- for long, and behind us everybody would wait: so we wait half a second at a time, and let the others go first.
DO $$
BEGIN
    FOR turn IN 1..600 LOOP
        BEGIN
            SET LOCAL lock_timeout = '500ms';
            LOCK TABLE call_list IN ACCESS EXCLUSIVE MODE;           -- the view, and the tables that it is of
            RETURN;
        EXCEPTION WHEN lock_not_available THEN
            PERFORM pg_sleep(0.2);
        END;
    END LOOP;
    RAISE lock_not_available USING MESSAGE = 'calls: somebody has held a lock on it for minutes';
END
$$;

ALTER TABLE calls
    ADD COLUMN IF NOT EXISTS talk_ms              bigint,                      -- either party talks
    ADD COLUMN IF NOT EXISTS silence_ms           bigint,                      -- neither does
    ADD COLUMN IF NOT EXISTS overlap_ms           bigint,                      -- both do
    ADD COLUMN IF NOT EXISTS caller_talk_ms       bigint,
    ADD COLUMN IF NOT EXISTS called_talk_ms       bigint,
    ADD COLUMN IF NOT EXISTS caller_monologue_ms  bigint,                      -- the longest
    ADD COLUMN IF NOT EXISTS called_monologue_ms  bigint,
    ADD COLUMN IF NOT EXISTS caller_interruptions bigint,                      -- of the other party
    ADD COLUMN IF NOT EXISTS called_interruptions bigint;

CREATE OR REPLACE VIEW call_list AS
    SELECT c.uuid, t.name AS tenant, c.wire_call_id, c.protocol, c.status, c.started_at, c.answered_at, c.ended_at,
           c.duration_ms, c.caller_number, c.caller_name, c.caller_ip, c.caller_port, c.caller_mac,
           c.called_number, c.called_name, c.called_ip, c.called_port, c.called_mac,
           c.description, c.tags, c.legal_hold,
           c.talk_ms, c.silence_ms, c.overlap_ms, c.caller_talk_ms, c.called_talk_ms, c.caller_monologue_ms,
           c.called_monologue_ms, c.caller_interruptions, c.called_interruptions
      FROM calls c JOIN tenants t ON t.id = c.tenant_id
     WHERE c.tenant_id = ANY ((SELECT reader_tenants())::integer[]);
