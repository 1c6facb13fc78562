-- Gives candidates back that are still ours: idle, due again later, or due at once because something arrived meanwhile. Tells which were.
update atsync.candidate q
set lease_owner = null,
    lease_until = null,
    sending = r.sending,
    state = r.state,
    synced_version = case when r.synced then r.version else q.synced_version end,
    last_synced_at = case when r.synced then now() else q.last_synced_at end,
    attempts = case when r.failed then q.attempts + 1 else 0 end,
    blocked_since = case when r.failed or r.state in ('waiting_for_identity', 'unmapped') then coalesce(q.blocked_since, now()) end,
    error_class = r.error_class,
    last_error = r.error,
    due_at = case when q.version > r.version and not r.failed then now()
                  when r.delay_ms is not null then now() + r.delay_ms * interval '1 millisecond' end
from unnest($1::text[], $2::text[], $3::text[], $4::bigint[], $5::text[], $6::boolean[], $7::boolean[], $8::text[], $9::text[], $10::bigint[],
            $11::bigint[], $12::bigint[], $13::text[])
     as r (source, connector, ref, version, state, synced, failed, error_class, error, delay_ms, lease_no, idx, sending)
where q.source = r.source and q.connector = r.connector and q.ref = r.ref and q.lease_no = r.lease_no
returning r.idx
