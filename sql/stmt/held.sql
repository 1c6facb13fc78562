-- Which of these candidates' rows another session holds, so that all others can be gone on with, and whose session that is, as far as the
-- row tells. Waits for none of them.
with named as (
    select u.place, u.source, u.connector, u.ref
    from unnest($1::text[], $2::text[], $3::text[]) with ordinality as u (source, connector, ref, place)
), free as materialized (
    select n.place
    from named n
    join atsync.candidate c on c.ref = n.ref and c.source = n.source and c.connector = n.connector
    for no key update of c skip locked
)
select n.place,
       (select concat_ws(', ', 'process ' || a.pid, nullif(a.application_name, ''), 'role ' || a.usename)
        from pg_stat_activity a
        where a.backend_xid = c.xmax
        limit 1)
from named n
join atsync.candidate c on c.ref = n.ref and c.source = n.source and c.connector = n.connector
where n.place not in (select f.place from free f)
