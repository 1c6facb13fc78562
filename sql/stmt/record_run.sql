-- The folded runs, for the views, each once and in the order of the keys; a run that did not change is not written.
insert into atsync.run as r
    (source, run_id, ref, connector, is_contact, is_latest, workflow_id, workflow_version_id, workflow_external_id, job, profile_id, external_id, state,
     outcome, result, error_code, error_class, last_failed_node_id, cancellation_reason, final_node_id, truncated, complete, conflict, started_at,
     completed_at, last_event_at, nodes)
select i.source, i.run_id, i.ref, i.connector, i.is_contact, i.is_latest, i.workflow_id, i.workflow_version_id, i.workflow_external_id, i.job,
       i.profile_id, i.external_id, i.state, i.outcome, i.result, i.error_code, i.error_class, i.last_failed_node_id, i.cancellation_reason,
       i.final_node_id, i.truncated, i.complete, i.conflict, i.started_at, i.completed_at, i.last_event_at, i.nodes
from (select unnest($1::text[]) as source, unnest($2::text[]) as run_id, unnest($3::text[]) as ref, unnest($4::text[]) as connector,
             unnest($5::boolean[]) as is_contact, unnest($6::boolean[]) as is_latest, unnest($7::text[]) as workflow_id,
             unnest($8::text[]) as workflow_version_id, unnest($9::text[]) as workflow_external_id, unnest($10::text[]) as job,
             unnest($11::text[]) as profile_id, unnest($12::text[]) as external_id, unnest($13::text[]) as state, unnest($14::text[]) as outcome,
             unnest($15::text[]) as result, unnest($16::text[]) as error_code, unnest($17::text[]) as error_class,
             unnest($18::text[]) as last_failed_node_id, unnest($19::text[]) as cancellation_reason, unnest($20::text[]) as final_node_id,
             unnest($21::boolean[]) as truncated, unnest($22::boolean[]) as complete, unnest($23::boolean[]) as conflict,
             unnest($24::timestamptz[]) as started_at, unnest($25::timestamptz[]) as completed_at, unnest($26::timestamptz[]) as last_event_at,
             unnest($27::text[]) as nodes) i
on conflict (source, run_id) do update
set ref = excluded.ref, connector = excluded.connector, is_latest = excluded.is_latest, workflow_id = excluded.workflow_id,
    workflow_version_id = excluded.workflow_version_id, workflow_external_id = excluded.workflow_external_id, job = excluded.job,
    profile_id = excluded.profile_id, external_id = excluded.external_id, state = excluded.state, outcome = excluded.outcome, result = excluded.result,
    error_code = excluded.error_code, error_class = excluded.error_class, last_failed_node_id = excluded.last_failed_node_id,
    cancellation_reason = excluded.cancellation_reason, final_node_id = excluded.final_node_id, truncated = excluded.truncated,
    complete = excluded.complete, conflict = excluded.conflict, started_at = excluded.started_at, completed_at = excluded.completed_at,
    last_event_at = excluded.last_event_at, nodes = excluded.nodes
where (excluded.ref = r.ref
       -- what was folded without the name does not hide who it is; of two who are named by events of one run, the later one shows, whoever is worked on last
       or case when (excluded.ref like 'x:%') <> (r.ref like 'x:%') then excluded.ref like 'x:%'
               else (excluded.last_event_at, r.ref) > (r.last_event_at, excluded.ref) end)
  and (r.ref, r.connector, r.is_latest, r.workflow_id, r.workflow_version_id, r.workflow_external_id, r.job, r.profile_id, r.external_id, r.state,
       r.outcome, r.result, r.error_code, r.error_class, r.last_failed_node_id, r.cancellation_reason, r.final_node_id, r.truncated, r.complete,
       r.conflict, r.started_at, r.completed_at, r.last_event_at, r.nodes)
      is distinct from
      (excluded.ref, excluded.connector, excluded.is_latest, excluded.workflow_id, excluded.workflow_version_id, excluded.workflow_external_id,
       excluded.job, excluded.profile_id, excluded.external_id, excluded.state, excluded.outcome, excluded.result, excluded.error_code,
       excluded.error_class, excluded.last_failed_node_id, excluded.cancellation_reason, excluded.final_node_id, excluded.truncated,
       excluded.complete, excluded.conflict, excluded.started_at, excluded.completed_at, excluded.last_event_at, excluded.nodes)
