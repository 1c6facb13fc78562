-- Keeps the leases of candidates in work. Nothing is waited for longer than 3 seconds (store/held.c).
update atsync.candidate q
set lease_until = now() + $5 * interval '1 millisecond'
from unnest($1::text[], $2::text[], $3::text[], $4::bigint[]) as u (source, connector, ref, lease_no),
     (select set_config('lock_timeout', '3s', true) offset 0) patience
where q.source = u.source and q.connector = u.connector and q.ref = u.ref and q.lease_no = u.lease_no and q.lease_until > now()
  and q.lease_until < now() + $5 * interval '0.75 millisecond'
