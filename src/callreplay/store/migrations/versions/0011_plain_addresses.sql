-- An IPv4 address as IPv6 sockets show it (::ffff:192.0.2.7, RFC 4291 section 2.5.5.2) is that IPv4 address, whoever
-- writes the row: searches ask for 192.0.2.7.
CREATE FUNCTION plain_addresses() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog AS $$
BEGIN
    IF NEW.caller_ip <<= inet '::ffff:0:0/96' THEN
        NEW.caller_ip := inet '0.0.0.0' + (NEW.caller_ip - inet '::ffff:0:0');
    END IF;
    IF NEW.called_ip <<= inet '::ffff:0:0/96' THEN
        NEW.called_ip := inet '0.0.0.0' + (NEW.called_ip - inet '::ffff:0:0');
    END IF;
    RETURN NEW;
END
$$;

CREATE TRIGGER calls_plain_addresses BEFORE INSERT OR UPDATE OF caller_ip, called_ip ON calls FOR EACH ROW
    WHEN (NEW.caller_ip <<= inet '::ffff:0:0/96' OR NEW.called_ip <<= inet '::ffff:0:0/96')
    EXECUTE FUNCTION plain_addresses();

UPDATE calls SET caller_ip = caller_ip, called_ip = called_ip
 WHERE caller_ip <<= inet '::ffff:0:0/96' OR called_ip <<= inet '::ffff:0:0/96';
