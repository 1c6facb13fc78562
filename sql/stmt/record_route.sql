-- Candidates that have to be looked at elsewhere: at the connector of their workflow, or under the reference that they stand for.
insert into atsync.candidate as c (source, connector, ref, external_id, due_at, last_event_at)
select distinct on (u.source, u.connector, u.ref) u.source, u.connector, u.ref, u.external_id, now(), q.last_event_at
from unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[]) as u (source, connector, ref, external_id, from_connector, from_ref)
join atsync.candidate q on q.source = u.source and q.connector = u.from_connector and q.ref = u.from_ref
order by u.source, u.connector, u.ref
on conflict (source, connector, ref) do update
set version = c.version + 1,
    last_event_at = greatest(c.last_event_at, excluded.last_event_at),
    due_at = case when c.lease_owner is not null or c.attempts > 0 then coalesce(c.due_at, excluded.due_at) else now() end
