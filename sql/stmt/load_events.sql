-- The events of the claimed candidates: under their own reference and under the names that are known to be theirs. Of a run that has been forgotten one
-- event is left, without a body (retain_forget). $3: how many bytes they may have, each event counted 1 KiB more; when they have more, the last row
-- says so (size_so_far), and what is beyond it is neither sent nor looked for.
select f.idx, f.event_id, f.event_time, case when f.size_so_far <= $3 then f.body end, f.run_id, f.type, f.size_so_far
from (
    select t.*, sum(t.size) over (rows unbounded preceding) as size_so_far
    from (
        select c.idx, e.event_id, e.event_time, e.body, case when e.body is null then e.run_id end as run_id, case when e.body is null then e.type end as type,
               coalesce(octet_length(e.body), 0) + 1024 as size
        from unnest($1::text[], $2::text[]) with ordinality as c (source, ref, idx)
        join atsync.event e on e.source = c.source and e.subject = c.ref and e.subject <> ''
        where e.body is not null or e.run_id is not null
        union all
        select c.idx, e.event_id, e.event_time, e.body, case when e.body is null then e.run_id end, case when e.body is null then e.type end,
               coalesce(octet_length(e.body), 0) + 1024
        from unnest($1::text[], $2::text[]) with ordinality as c (source, ref, idx)
        join atsync.identity i on i.source = c.source and i.ref = c.ref and not i.conflict
        join atsync.event e on e.source = i.source and e.subject = i.alias and e.subject <> ''
        where e.body is not null or e.run_id is not null
        limit $3::bigint / 1024 + 1
    ) t
) f
where f.size_so_far - f.size <= $3
