-- The part of atsyncd-views(7) that is made of the views' columns and comments, as mdoc: lines of at most 80 bytes, each sentence on
-- a line of its own, nothing that mdoc would take for a macro. schema_test compares it with the page.
with view as (
    select c.oid, c.relname::text as name, obj_description(c.oid, 'pg_class') as comment
    from pg_class c
    where c.relnamespace = 'atsync'::regnamespace and c.relkind = 'v'
), piece as (
    select name, 0 as part, 0 as n, format(E'.Ss %s', name) as head, comment as words, E'\n.Bl -tag -width Ds' as tail
    from view
    union all
    select v.name, 1, a.attnum, format(E'.It Ic %s Pq %s', a.attname, format_type(a.atttypid, a.atttypmod)), col_description(v.oid, a.attnum), ''
    from view v
    join pg_attribute a on a.attrelid = v.oid and a.attnum > 0 and not a.attisdropped
    union all
    select name, 2, 0, '.El', null, ''
    from view
), laid_out as (
    select p.name, p.part, p.n, p.head || coalesce(E'\n' || w.words, '') || p.tail as text
    from piece p
    left join lateral (
        select string_agg(
                   regexp_replace(
                       regexp_replace(
                           rtrim(regexp_replace(replace(replace(s.sentence, '\', '\e'), '…', '\[u2026]'), '(.{1,78})( |$)', E'\\1\n', 'g'), E'\n'),
                           '(^|\n)([.''])', '\1\&\2', 'g'),
                       ' +(\n|$)', '\1', 'g'),
                   E'\n' order by s.n) as words
        from regexp_split_to_table(regexp_replace(p.words, '([.?!]) +(?=[A-Z])', E'\\1\n', 'g'), '\n') with ordinality as s (sentence, n)
    ) w on true
)
select string_agg(text, E'\n' order by name collate "C", part, n) || E'\n' from laid_out
