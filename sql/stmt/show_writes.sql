-- What is wanted for a candidate and not done.
select row_to_json(w)::text
from (
    select p.state, p.connector, p.workflow_external_id, p.kind, p.target, p.value, p.reason, p.attempts, p.http_status, p.error_class, p.error,
           p.first_tried_at, p.next_attempt_at, p.key
    from atsync.pending_writes p where p.candidate_external_id = $1
    union all
    select d.state, d.connector, d.workflow_external_id, d.kind, d.target, d.value, d.reason, d.attempts, d.http_status, d.error_class, d.error,
           d.first_tried_at, d.next_attempt_at, d.key
    from atsync.dead_writes d where d.candidate_external_id = $1
) w
order by w.connector, w.key collate "C"
