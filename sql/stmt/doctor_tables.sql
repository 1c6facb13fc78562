-- Our tables: dead rows, care by autovacuum, and how large they would be if they were packed (null if nobody has analysed them yet).
select row_to_json(t)::text
from (
    select c.relname::text as name, coalesce('autovacuum_enabled=false' = any (c.reloptions) or 'autovacuum_enabled=off' = any (c.reloptions), false) as autovacuum_off,
           s.n_live_tup as live, s.n_dead_tup as dead,
           extract(epoch from clock_timestamp() - greatest(s.last_vacuum, s.last_autovacuum))::bigint as since_vacuum_seconds,
           pg_relation_size(c.oid) as bytes,
           (case when w.bytes is not null and c.reltuples > 0 then
                ceil(c.reltuples / greatest(floor((8192 - 24) * coalesce(f.fillfactor, 100) / 100.0 / (w.bytes + 4)), 1)) * 8192 end)::bigint as packed_bytes
    from pg_class c
    left join pg_stat_user_tables s on s.relid = c.oid
    left join lateral (
        -- a row: its header, its columns as wide as they were found to be, all in steps of 8 bytes
        select ceil((24 + sum((1 - p.null_frac) * p.avg_width)) / 8.0) * 8 as bytes
        from pg_stats p
        where p.schemaname = 'atsync' and p.tablename = c.relname
    ) w on true
    left join lateral (
        select substring(o from 'fillfactor=([0-9]+)')::int as fillfactor from unnest(c.reloptions) as o where o like 'fillfactor=%'
    ) f on true
    where c.relnamespace = 'atsync'::regnamespace and c.relkind = 'r'
) t
order by t.name
