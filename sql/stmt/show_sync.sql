-- How a candidate stands, by external id, or by the reference while that is all that is known.
select row_to_json(s)::text
from (
    select c.source, c.ref from atsync.candidate c where c.external_id = $1
    union
    select r.source, r.ref from atsync.run r where r.external_id = $1
    union
    select c.source, c.ref from atsync.candidate c where c.ref = $1 and c.external_id is null
) who
join lateral (
    select q.* from atsync.sync_status q where q.source = who.source and q.ref = who.ref
) s on true
order by s.last_event_at, s.workflow_external_id
