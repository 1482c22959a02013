-- Calls for bench/search.py: %(rows)s of them over two years, three tenants (90, 9 and 1 %%), 4000 extensions with a
-- phone each, four gateways, a million outside numbers of which few call often and most seldom.
INSERT INTO calls (tenant_id, identity, wire_call_id, protocol, status, started_at, answered_at, ended_at,
                   caller_ip, caller_port, caller_mac, caller_number, caller_name,
                   called_ip, called_port, called_mac, called_number, called_name,
                   length_ms, mos, loss_percent, codecs, one_way, tags, talk_ms, silence_ms, overlap_ms)
SELECT tenant, n::text, md5(n::text) || '@10.0.0.' || n %% 200, 'sip',
       CASE WHEN n %% 9 > 0 THEN 'answered' ELSE 'failed 486 Busy Here' END, start, start + interval '3 s',
       start + make_interval(secs => 5 + 600 * r4 * r4),
       CASE WHEN outbound THEN phone_ip ELSE gateway_ip END, 10000 + 2 * (r1 * 10000)::integer,
       CASE WHEN outbound THEN phone_mac ELSE gateway_mac END,
       CASE WHEN outbound THEN extension ELSE outside END, CASE WHEN outbound THEN person ELSE company END,
       CASE WHEN outbound THEN gateway_ip ELSE phone_ip END, 10000 + 2 * (r2 * 10000)::integer,
       CASE WHEN outbound THEN gateway_mac ELSE phone_mac END,
       CASE WHEN outbound THEN outside ELSE extension END, CASE WHEN outbound THEN company ELSE person END,
       (1000 * (2 + 600 * r4 * r4))::bigint, CASE WHEN n %% 50 > 0 THEN 4.4 - 3.2 * power(r2, 9) END, round((100 * power(r2, 40))::numeric, 3),
       ARRAY[(ARRAY['PCMA', 'PCMA', 'PCMU', 'G722', 'G729', 'OPUS'])[1 + n %% 6]], n %% 97 = 0,
       CASE WHEN n %% 211 = 0 THEN ARRAY['sales'] ELSE '{}' END,
       -- Of every other call it is known who talks how long.
       CASE WHEN n %% 2 = 0 THEN (1000 * (2 + 600 * r4 * r4) * (1 - r2 * r2))::bigint END,
       CASE WHEN n %% 2 = 0 THEN (1000 * (2 + 600 * r4 * r4) * r2 * r2)::bigint END,
       CASE WHEN n %% 2 = 0 THEN (100 * r4 * r4)::bigint END
  FROM (SELECT n, r1, r2, r4, r3 < 0.5 AS outbound,
               CASE WHEN r5 < 0.90 THEN %(first)s WHEN r5 < 0.99 THEN %(first)s + 1 ELSE %(first)s + 2 END AS tenant,
               timestamptz '2024-01-01' + make_interval(secs => n * 63072000.0 / %(rows)s + r1) AS start,
               (1000 + e)::text AS extension,
               inet '10.20.0.0' + e::bigint AS phone_ip,
               ('00:1b:54:00:' || lpad(to_hex(e / 256), 2, '0') || ':' || lpad(to_hex(e %% 256), 2, '0'))::macaddr
                   AS phone_mac,
               first_names[1 + e %% 40] || ' ' || last_names[1 + e / 40 %% 50] AS person,
               inet '10.0.0.1' + (n %% 4)::bigint AS gateway_ip,
               ('00:1b:54:ff:00:0' || n %% 4)::macaddr AS gateway_mac,
               prefixes[1 + o %% 8] || lpad((o::bigint * 7919 %% 10000000)::text, 7, '0') AS outside,
               CASE WHEN o %% 3 = 0 THEN words[1 + o / 3 %% 30] || ' ' || last_names[1 + o / 90 %% 50] ELSE '' END
                   AS company
          FROM (SELECT n, random() AS r1, random() AS r2, random() AS r3, random() AS r4, random() AS r5,
                       (3999 * power(random(), 2))::integer AS e, (999999 * power(random(), 4))::integer AS o
                  FROM generate_series(%(from)s::bigint, %(to)s::bigint) AS n) AS drawn,
               (SELECT string_to_array('Ana,Andrei,Ștefan,Maria,Ion,Elena,Mihai,Ioana,Vlad,Irina,Radu,Alina,Paul,Dana,'
                           'Marc,Laura,Hans,Greta,Jürgen,Heidi,Karl,Ursula,Pierre,Élodie,Luc,Marie,Jean,Chloé,José,Lucía,'
                           'Pablo,Carmen,Juan,Inés,John,Mary,Peter,Susan,Alan,Grace', ',') AS first_names,
                       string_to_array('Popescu,Ionescu,Georgescu,Dumitru,Stan,Rusu,Munteanu,Matei,Florea,Marin,Müller,'
                           'Schmidt,Schneider,Fischer,Weber,Meyer,Wagner,Becker,Schulz,Hoffmann,Martin,Bernard,Dubois,Thomas,'
                           'Robert,Richard,Petit,Durand,Leroy,Moreau,García,Fernández,González,Rodríguez,López,Martínez,'
                           'Sánchez,Pérez,Gómez,Jiménez,Smith,Jones,Taylor,Brown,Williams,Wilson,Johnson,Davies,Patel,Wright',
                           ',') AS last_names,
                       string_to_array('Acme,Global,Nord,Sud,Alpha,Beta,Delta,Omega,Prime,Metro,Euro,Trans,Inter,Micro,Macro,'
                           'Agro,Bio,Geo,Hydro,Techno,Info,Data,Soft,Hard,Blue,Red,Green,White,Black,Gold', ',') AS words,
                       string_to_array('072,073,074,021,044,0030,0033,0034', ',') AS prefixes) AS lists) AS made
