-- Locks the candidates that are still ours, in key order, and tells which.
select c.idx
from unnest($1::text[], $2::text[], $3::text[], $4::bigint[], $5::bigint[]) as c (source, connector, ref, lease_no, idx)
join atsync.candidate q on q.source = c.source and q.connector = c.connector and q.ref = c.ref and q.lease_no = c.lease_no
order by q.source, q.connector, q.ref
for update of q
