-- Our indexes: whether they can be used, and how large the B-trees would be if they were packed (null if nobody has analysed their tables yet).
select row_to_json(t)::text
from (
    select c.relname::text as name, r.relname::text as on_table, i.indisvalid and i.indisready as usable, pg_relation_size(c.oid) as bytes,
           (case when m.amname = 'btree' and c.reltuples > 0 and w.bytes is not null then
                (ceil(c.reltuples * w.bytes / ((8192 - 40) * 0.9)) + 1) * 8192 end)::bigint as packed_bytes
    from pg_class r
    join pg_index i on i.indrelid = r.oid
    join pg_class c on c.oid = i.indexrelid
    join pg_am m on m.oid = c.relam
    left join lateral (
        -- an entry: its header, its keys as wide as they were found to be, and the pointer to it
        select ceil((8 + sum((1 - p.null_frac) * p.avg_width)) / 8.0) * 8 + 4 as bytes
        from pg_attribute a
        left join pg_attribute k on k.attrelid = r.oid and k.attnum = i.indkey[a.attnum - 1] and k.attnum > 0
        join pg_stats p on p.schemaname = 'atsync' and ((k.attname is not null and p.tablename = r.relname and p.attname = k.attname)
                                                        or (k.attname is null and p.tablename = c.relname and p.attname = a.attname))
        where a.attrelid = c.oid
    ) w on true
    where r.relnamespace = 'atsync'::regnamespace and r.relkind = 'r'
) t
order by t.name
