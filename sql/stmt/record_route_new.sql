-- Candidates that another connector has to look at as well, and has never: the mapping leads one of their workflows there now. Who has a row there is looked at by itself.
insert into atsync.candidate (source, connector, ref, external_id, due_at, last_event_at)
select u.source, u.connector, u.ref, u.external_id, now(), q.last_event_at
from unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[]) as u (source, connector, ref, external_id, from_connector, from_ref)
join atsync.candidate q on q.source = u.source and q.connector = u.from_connector and q.ref = u.from_ref
order by u.source, u.connector, u.ref
on conflict (source, connector, ref) do nothing
