-- A volume is known by its uuid, which a marker in its folder repeats: a folder without it is not the volume. Volumes of
-- an older schema have no marker yet; they get it where one of their files is seen (callreplay.store.volumes.adopt).
ALTER TABLE storage_volumes
    ADD COLUMN uuid      uuid NOT NULL DEFAULT gen_random_uuid() UNIQUE,
    ADD COLUMN marked_at timestamptz,                            -- when its marker was written; NULL: not yet
    ADD COLUMN home      text;                                   -- its path below the data directory, if it lies there

-- Names tell volumes apart: those without one, and those that share one, get another.
UPDATE storage_volumes v
   SET name = CASE WHEN v.name = '' THEN 'Volume ' || v.id ELSE v.name || ' (' || v.id || ')' END
 WHERE v.name = '' OR EXISTS (SELECT FROM storage_volumes o WHERE o.name = v.name AND o.id < v.id);
UPDATE storage_volumes v
   SET name = v.name || ' (' || v.uuid || ')'
 WHERE EXISTS (SELECT FROM storage_volumes o WHERE o.name = v.name AND o.id < v.id);
ALTER TABLE storage_volumes
    ADD CONSTRAINT storage_volumes_name UNIQUE (name),
    ADD CONSTRAINT storage_volumes_named CHECK (name <> '');
