-- Words bear the tenant and the start of their call, so that they can be walked in the order of every answer, and the
-- calls of a word put in order without a look at each. Columns without a default are added at once. Who waits for a
-- lock keeps everybody behind him waiting: so we wait half a second at a time. One that was cut short is run again.
DO $$
BEGIN
    FOR turn IN 1..600 LOOP
        BEGIN
            SET LOCAL lock_timeout = '500ms';
            LOCK TABLE calls IN SHARE ROW EXCLUSIVE MODE;            -- a trigger
            LOCK TABLE call_words IN ACCESS EXCLUSIVE MODE;          -- and columns
            RETURN;
        EXCEPTION WHEN lock_not_available THEN
            PERFORM pg_sleep(0.2);
        END;
    END LOOP;
    RAISE lock_not_available USING MESSAGE = 'call_words: somebody has held a lock on it for minutes';
END
$$;

ALTER TABLE call_words
    ADD COLUMN IF NOT EXISTS tenant_id  integer,                 -- those of the call: see place_words
    ADD COLUMN IF NOT EXISTS started_at timestamptz;

-- Whoever writes words need not say whose they are.
CREATE OR REPLACE FUNCTION place_words() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    SELECT c.tenant_id, c.started_at INTO NEW.tenant_id, NEW.started_at FROM calls c WHERE c.uuid = NEW.call_uuid;
    RETURN NEW;
END
$$;
CREATE OR REPLACE TRIGGER place_words BEFORE INSERT OR UPDATE ON call_words FOR EACH ROW EXECUTE FUNCTION place_words();

-- A call that turns out to have begun at another time takes its words along.
CREATE OR REPLACE FUNCTION move_words() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    UPDATE call_words SET started_at = NEW.started_at WHERE call_uuid = NEW.uuid;  -- place_words does it
    RETURN NULL;
END
$$;
CREATE OR REPLACE TRIGGER move_words AFTER UPDATE OF tenant_id, started_at ON calls FOR EACH ROW
    WHEN ((OLD.tenant_id, OLD.started_at) IS DISTINCT FROM (NEW.tenant_id, NEW.started_at))
    EXECUTE FUNCTION move_words();
DO $$
BEGIN
    -- Nothing of a writer's search_path takes the place of these tables.
    EXECUTE format('ALTER FUNCTION place_words() SET search_path = pg_catalog, %I, pg_temp', current_schema());
    EXECUTE format('ALTER FUNCTION move_words() SET search_path = pg_catalog, %I, pg_temp', current_schema());
END
$$;
