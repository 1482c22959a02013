-- What a search looks up that trigrams cannot: texts of one or two characters (or with no three letters or digits in
-- a row), and addresses beside them, so that one index intersects conditions that are common each and never meet.
--
-- A key is the tenant, a letter for the column and then one or two neighbouring characters, folded as ILIKE folds them,
-- or a whole address, or two. With every = true these are the keys of a call; with false the fewest that a call must
-- have to match.
-- It calls nothing of this schema: indexes are built and restored with a search_path of pg_catalog alone.
CREATE FUNCTION call_keys(tenant_id integer,
                          caller_number text, caller_name text, called_number text, called_name text,
                          caller_ip inet, called_ip inet, caller_mac macaddr, called_mac macaddr,
                          every boolean) RETURNS text[]
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
DECLARE
    texts   text[] := ARRAY[caller_number, caller_name, called_number, called_name];
    keys    text[] := '{}';
    field   text;
    folded  text;
    letters integer;
BEGIN
    FOR number IN 1..4 LOOP
        field   := tenant_id || substr('abcd', number, 1);
        folded  := lower(texts[number]);
        letters := coalesce(length(folded), 0);
        FOR start IN 1..letters LOOP
            IF every OR letters = 1 THEN
                keys := keys || (field || substr(folded, start, 1));
            END IF;
            IF start < letters THEN
                keys := keys || (field || substr(folded, start, 2));
            END IF;
        END LOOP;
    END LOOP;
    -- Pairs beside single ones: gateways are in a good part of all calls, and two that never meet would be intersected
    -- entry by entry.
    RETURN keys || array_remove(ARRAY[
        tenant_id || 'e' || host(caller_ip),
        tenant_id || 'f' || host(called_ip),
        tenant_id || 'g' || caller_mac::text,
        tenant_id || 'h' || called_mac::text,
        tenant_id || 'i' || host(caller_ip) || ' ' || host(called_ip),
        tenant_id || 'j' || caller_mac::text || ' ' || called_mac::text,
        tenant_id || 'k' || host(caller_ip) || ' ' || caller_mac::text,
        tenant_id || 'l' || host(called_ip) || ' ' || called_mac::text], NULL);
END
$$;

CREATE INDEX calls_keys ON calls USING gin (call_keys(tenant_id, caller_number, caller_name, called_number, called_name,
                                                      caller_ip, called_ip, caller_mac, called_mac, true))
                        WITH (fastupdate = off);
ANALYZE calls;
