-- Gives claimed candidates back unworked, if they are still ours: due as they were, or ($5) so many milliseconds from now. $6, $7: what is in the way
-- counts as a failed attempt and is shown; null: nothing is. Nothing is waited for longer than 3 seconds (store/held.c).
update atsync.candidate q
set lease_owner = null,
    lease_until = null,
    due_at = case when u.delay_ms is null then q.due_at else now() + u.delay_ms * interval '1 millisecond' end,
    state = case when u.error is null then q.state else 'retrying' end,
    attempts = case when u.error is null then q.attempts else q.attempts + 1 end,
    blocked_since = case when u.error is null then q.blocked_since else coalesce(q.blocked_since, now()) end,
    error_class = coalesce(u.error_class, q.error_class),
    last_error = coalesce(u.error, q.last_error)
from unnest($1::text[], $2::text[], $3::text[], $4::bigint[], $5::bigint[], $6::text[], $7::text[])
         as u (source, connector, ref, lease_no, delay_ms, error_class, error),
     (select set_config('lock_timeout', '3s', true) offset 0) patience
where q.source = u.source and q.connector = u.connector and q.ref = u.ref and q.lease_no = u.lease_no
