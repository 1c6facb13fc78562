-- References that were known by their run only, when the run is known now.
update atsync.candidate q
set version = q.version + 1, due_at = case when q.lease_owner is null then now() else q.due_at end
from unnest($1::text[], $2::text[]) as u (source, ref)
where q.source = u.source and q.connector = '' and q.ref = u.ref and q.state <> 'pending'
