-- Notes what is being sent for candidates that are still ours, locks them, and tells which they are.
update atsync.candidate q
set sending = u.sending
from unnest($1::text[], $2::text[], $3::text[], $4::bigint[], $5::bigint[], $6::text[]) as u (source, connector, ref, lease_no, idx, sending)
where q.source = u.source and q.connector = u.connector and q.ref = u.ref and q.lease_no = u.lease_no
returning u.idx
