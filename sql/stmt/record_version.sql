-- The audit mirror of published workflow versions.
insert into atsync.workflow_version (source, workflow_id, workflow_version_id, workflow_external_id, organization_id, version_number, published_by_user_id, published_at, event_id, event_time)
select distinct on (u.source, u.workflow_id, u.workflow_version_id) u.*
from unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::bigint[], $7::text[], $8::timestamptz[], $9::text[], $10::timestamptz[])
     as u (source, workflow_id, workflow_version_id, workflow_external_id, organization_id, version_number, published_by_user_id, published_at, event_id, event_time)
order by u.source, u.workflow_id, u.workflow_version_id, u.event_time desc
on conflict (source, workflow_id, workflow_version_id) do nothing
