-- Rows that have served: what waited under them is looked at under another reference now. Not if something arrived meanwhile.
with f as (
    select * from unnest($1::text[], $2::text[], $3::text[], $4::bigint[]) as u (source, connector, ref, version)
), gone as (
    delete from atsync.candidate q using f
    where q.source = f.source and q.connector = f.connector and q.ref = f.ref and q.version = f.version
)
update atsync.candidate q
set lease_owner = null, lease_until = null, due_at = now()
from f
where q.source = f.source and q.connector = f.connector and q.ref = f.ref and q.version <> f.version
