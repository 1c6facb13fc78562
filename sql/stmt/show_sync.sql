-- How a candidate stands, by external id, or by the reference while that is all that is known.
select row_to_json(s)::text
from (
    select q.* from atsync.sync_status q where q.candidate_external_id = $1
    union all
    select q.* from atsync.sync_status q where q.candidate_external_id is null and q.ref = $1
) s
order by s.last_event_at, s.workflow_external_id
