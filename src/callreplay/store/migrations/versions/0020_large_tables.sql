-- A call that goes takes its files with it: there are no figures to follow then, and no need to look for them.
CREATE OR REPLACE FUNCTION follow_call_files() RETURNS trigger
LANGUAGE plpgsql AS $$
DECLARE
    call  uuid := CASE WHEN TG_OP = 'DELETE' THEN OLD.call_uuid ELSE NEW.call_uuid END;
    found record;
BEGIN
    IF TG_OP = 'DELETE' AND NOT EXISTS (SELECT FROM calls c WHERE c.uuid = call) THEN
        RETURN NULL;
    END IF;
    SELECT * INTO found FROM call_figures(call);
    UPDATE calls c SET length_ms = found.length_ms, mos = found.mos, loss_percent = found.loss_percent,
                       codecs = found.codecs, one_way = found.one_way
     WHERE c.uuid = call
       AND (c.length_ms, c.mos, c.loss_percent, c.codecs, c.one_way)
           IS DISTINCT FROM (found.length_ms, found.mos, found.loss_percent, found.codecs, found.one_way);
    RETURN NULL;
END
$$;
DO $$
BEGIN
    EXECUTE format('ALTER FUNCTION follow_call_files() SET search_path = pg_catalog, %I, pg_temp', current_schema());
END
$$;
