-- The numbers of a call's other hops: a queue and every phone it rang. A search for the called number finds any of them;
-- called_number is whose phone was answered. They begin with a blank, so that the two joined are the number alone where
-- there was one hop.
ALTER TABLE calls ADD COLUMN hop_numbers text NOT NULL DEFAULT '';

DROP INDEX calls_text;
CREATE INDEX calls_text ON calls USING gin (caller_number gin_trgm_ops, caller_name gin_trgm_ops,
                                            (called_number || hop_numbers) gin_trgm_ops, called_name gin_trgm_ops)
                        WITH (fastupdate = off);
DROP INDEX calls_keys;
CREATE INDEX calls_keys ON calls USING gin (call_keys(tenant_id, caller_number, caller_name,
                                                      called_number || hop_numbers, called_name,
                                                      caller_ip, called_ip, caller_mac, called_mac, true))
                        WITH (fastupdate = off);
ANALYZE calls;
