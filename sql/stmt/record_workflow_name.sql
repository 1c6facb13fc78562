-- Learns the external ids of workflows.
insert into atsync.workflow_name as n (source, workflow_id, external_id)
select distinct on (u.source, u.workflow_id) u.source, u.workflow_id, u.external_id
from unnest($1::text[], $2::text[], $3::text[]) as u (source, workflow_id, external_id)
order by u.source, u.workflow_id, u.external_id
on conflict (source, workflow_id) do update
set external_id = excluded.external_id, learned_at = now()
where n.external_id <> excluded.external_id
