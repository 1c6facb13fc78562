-- All events of the claimed candidates: under their own reference and under the names that are known to be theirs. Of a run that has been forgotten one
-- event is left, without a body (retain_forget).
select c.idx, e.event_id, e.event_time, e.body, case when e.body is null then e.run_id end, case when e.body is null then e.type end
from unnest($1::text[], $2::text[]) with ordinality as c (source, ref, idx)
join atsync.event e on e.source = c.source and e.subject = c.ref and e.subject <> ''
where e.body is not null or e.run_id is not null
union all
select c.idx, e.event_id, e.event_time, e.body, case when e.body is null then e.run_id end, case when e.body is null then e.type end
from unnest($1::text[], $2::text[]) with ordinality as c (source, ref, idx)
join atsync.identity i on i.source = c.source and i.ref = c.ref and not i.conflict
join atsync.event e on e.source = i.source and e.subject = i.alias and e.subject <> ''
where e.body is not null or e.run_id is not null
