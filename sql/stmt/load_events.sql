-- All events of the claimed candidates: under their own reference and under the names that are known to be theirs.
select c.idx, e.event_id, e.event_time, e.body
from unnest($1::text[], $2::text[]) with ordinality as c (source, ref, idx)
cross join lateral (
    select c.ref as subject
    union
    select i.alias from atsync.identity i where i.source = c.source and i.ref = c.ref and not i.conflict
) s
join atsync.event e on e.source = c.source and e.subject = s.subject and s.subject <> ''
where e.body is not null
order by c.idx
