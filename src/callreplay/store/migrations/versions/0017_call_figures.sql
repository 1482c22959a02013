-- What a list of calls shows, sorts by and filters by, on the call itself: how long its audio is, and the worst of its
-- legs. It follows from call_files, whoever writes them: at the end of a transaction in which they changed.
ALTER TABLE calls
    ADD COLUMN length_ms    bigint  NOT NULL DEFAULT 0,          -- of the audio: from the first packet to the last
    ADD COLUMN mos          real,                                -- the least of the legs; NULL: not known
    ADD COLUMN loss_percent real    NOT NULL DEFAULT 0,          -- the greatest of the legs
    ADD COLUMN codecs       text[]  NOT NULL DEFAULT '{}',       -- of all legs, in upper case
    ADD COLUMN one_way      boolean NOT NULL DEFAULT false;      -- packets of one leg only

CREATE FUNCTION call_figures(call uuid, OUT length_ms bigint, OUT mos real, OUT loss_percent real, OUT codecs text[],
                             OUT one_way boolean)
LANGUAGE sql STABLE AS $$
    SELECT coalesce(greatest(
               round(extract(epoch FROM max(f.started_at + f.duration_ms * interval '1 millisecond') - min(f.started_at))
                     * 1000)::bigint,
               max(f.duration_ms)), 0),
           min(f.mos),
           coalesce(max(f.lost * 100.0 / nullif(f.packets + f.lost, 0)), 0)::real,
           ARRAY(SELECT DISTINCT upper(name) FROM call_files g,
                        unnest(CASE WHEN g.codecs = '{}' THEN ARRAY[g.codec] ELSE g.codecs END) name
                  WHERE g.call_uuid = call AND name <> '' ORDER BY 1),
           coalesce(count(DISTINCT f.leg) FILTER (WHERE f.packets > 0) = 1
                    AND bool_and(f.leg <> 'both') FILTER (WHERE f.packets > 0), false)
      FROM call_files f WHERE f.call_uuid = call
$$;

CREATE FUNCTION follow_call_files() RETURNS trigger
LANGUAGE plpgsql AS $$
DECLARE
    call  uuid := CASE WHEN TG_OP = 'DELETE' THEN OLD.call_uuid ELSE NEW.call_uuid END;
    found record;
BEGIN
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
    -- Nothing of a writer's search_path takes the place of these tables.
    EXECUTE format('ALTER FUNCTION call_figures(uuid) SET search_path = pg_catalog, %I, pg_temp', current_schema());
    EXECUTE format('ALTER FUNCTION follow_call_files() SET search_path = pg_catalog, %I, pg_temp', current_schema());
END
$$;

CREATE CONSTRAINT TRIGGER call_files_figures AFTER INSERT OR DELETE OR UPDATE OF
    call_uuid, leg, codec, codecs, started_at, duration_ms, packets, lost, mos ON call_files
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION follow_call_files();

UPDATE calls c SET (length_ms, mos, loss_percent, codecs, one_way) =
       (SELECT f.length_ms, f.mos, f.loss_percent, f.codecs, f.one_way FROM call_figures(c.uuid) f)
 WHERE EXISTS (SELECT FROM call_files g WHERE g.call_uuid = c.uuid);

-- The order of a list, and what its filters ask for; texts as far as anybody reads them in a column.
CREATE INDEX calls_length  ON calls (tenant_id, length_ms, started_at, uuid);
CREATE INDEX calls_mos     ON calls (tenant_id, mos, started_at, uuid);
CREATE INDEX calls_loss    ON calls (tenant_id, loss_percent, started_at, uuid);
CREATE INDEX calls_caller  ON calls (tenant_id, "left"(caller_number, 60), started_at, uuid);
CREATE INDEX calls_called  ON calls (tenant_id, "left"(called_number, 60), started_at, uuid);
CREATE INDEX calls_status  ON calls (tenant_id, "left"(split_part(status, ' ', 1), 60), started_at, uuid);
CREATE INDEX calls_codec   ON calls (tenant_id, (coalesce("left"(codecs[1], 60), '')), started_at, uuid);
CREATE INDEX calls_tag     ON calls (tenant_id, (coalesce("left"(tags[1], 60), '')), started_at, uuid);
CREATE INDEX calls_one_way ON calls (tenant_id, one_way, started_at, uuid);
CREATE INDEX calls_codecs  ON calls USING gin (codecs);
ANALYZE calls;
