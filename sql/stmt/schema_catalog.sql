-- The schema as text, one line for each thing in it, the same on every release of PostgreSQL (pg_dump's output is not).
-- schema_test compares it with sql/schema.golden (`make schema-files` writes that anew), atsyncctl doctor a database in use.
with relation as (
    select c.oid, c.relname, c.relkind, c.reloptions
    from pg_class c join pg_namespace n on n.oid = c.relnamespace
    where n.nspname = 'atsync' and c.relkind in ('r', 'v')
), line as (
    select 1 as part, r.relname::text as a, 0 as b,
           concat_ws(' ', case r.relkind when 'v' then 'view' else 'table' end, r.relname,
                     'with (' || (select string_agg(o, ', ' order by o) from unnest(r.reloptions) as o) || ')',
                     '-- ' || obj_description(r.oid, 'pg_class')) as text
    from relation r
    union all
    select 1, r.relname, a.attnum,
           concat_ws(' ', '   ', a.attname, format_type(a.atttypid, a.atttypmod), case when a.attnotnull then 'not null' end,
                     case when a.attidentity = 'a' then 'generated always as identity' end, 'default ' || pg_get_expr(d.adbin, d.adrelid),
                     '-- ' || col_description(r.oid, a.attnum))
    from relation r
    join pg_attribute a on a.attrelid = r.oid and a.attnum > 0 and not a.attisdropped
    left join pg_attrdef d on d.adrelid = r.oid and d.adnum = a.attnum
    union all
    select 1, r.relname, 10000, '    ' || c.conname || ' ' || pg_get_constraintdef(c.oid)
    from relation r join pg_constraint c on c.conrelid = r.oid and c.contype <> 'n'
    union all
    select 1, r.relname, 20000, '    ' || pg_get_indexdef(i.indexrelid)
    from relation r join pg_index i on i.indrelid = r.oid
    union all
    select 2, p.proname::text, 0, concat_ws(' ', 'function', p.proname || '(' || pg_get_function_arguments(p.oid) || ')', pg_get_function_result(p.oid))
    from pg_proc p where p.pronamespace = 'atsync'::regnamespace
)
select string_agg(text, E'\n' order by part, a collate "C", b, text collate "C") || E'\n' from line
