-- What a candidate answered, the newest first; at most $2.
select row_to_json(q)::text
from (
    select a.workflow_external_id, a.run_id, a.node_id, a.slug, a.answer, a.answer_state, a.traffic_light, a.outcome, a.score, a.classified_document_type,
           a.answered_at
    from atsync.answers a
    where a.candidate_external_id = $1
    order by a.answered_at desc nulls last, a.run_id, a.node_id, a.slug
    limit $2
) q
