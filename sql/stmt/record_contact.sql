-- Resolved, skipped and failed contacts.
insert into atsync.contact_resolution
    (source, event_id, kind, ref, record_id, organization_id, workflow_id, workflow_external_id, workflow_version_id, version_number, profile_id, external_id,
     email, phone_number, is_new_profile, existing_run_status, contact_index, event_time)
select distinct on (u.source, u.event_id) u.*
from unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[], $9::text[], $10::bigint[], $11::text[],
            $12::text[], $13::text[], $14::text[], $15::boolean[], $16::text[], $17::bigint[], $18::timestamptz[])
     as u (source, event_id, kind, ref, record_id, organization_id, workflow_id, workflow_external_id, workflow_version_id, version_number, profile_id,
           external_id, email, phone_number, is_new_profile, existing_run_status, contact_index, event_time)
order by u.source, u.event_id
on conflict (source, event_id) do update set ref = excluded.ref where atsync.contact_resolution.ref <> excluded.ref
