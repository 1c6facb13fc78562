-- Locks the candidates that are still ours, in the order in which they come, and tells which they are. Those that stay in work (kept) get the list of what is
-- being sent; those whose connector waits (waits) keep their place and lose their lease; the others are given back: idle, due again later, or due at once because
-- something arrived meanwhile. From here on nothing is waited for longer than 3 seconds (store/held.c).
update atsync.candidate q
set sending = r.sending,
    planned_version = r.version,
    lease_owner = case when r.kept and not r.waits then q.lease_owner end,
    lease_until = case when r.kept and not r.waits then q.lease_until end,
    state = case when r.kept then q.state else r.state end,
    synced_version = case when r.synced then r.version else q.synced_version end,
    last_synced_at = case when r.synced and r.state not in ('waiting_for_identity', 'unmapped') then now() else q.last_synced_at end,
    attempts = case when r.kept then q.attempts when r.failed then q.attempts + 1 else 0 end,
    blocked_since = case when r.kept then q.blocked_since
                         when r.failed or r.state in ('waiting_for_identity', 'unmapped') then coalesce(q.blocked_since, now()) end,
    error_class = case when r.kept then q.error_class else r.error_class end,
    last_error = case when r.kept then q.last_error else r.error end,
    due_at = case when r.kept then q.due_at
                  when q.version > r.version and not r.failed then now()
                  when r.delay_ms is not null then now() + r.delay_ms * interval '1 millisecond' end
from (select unnest($1::text[]) as source, unnest($2::text[]) as connector, unnest($3::text[]) as ref, unnest($4::bigint[]) as lease_no,
             unnest($5::bigint[]) as idx, unnest($6::boolean[]) as kept, unnest($7::text[]) as sending, unnest($8::bigint[]) as version,
             unnest($9::text[]) as state, unnest($10::boolean[]) as synced, unnest($11::boolean[]) as failed, unnest($12::text[]) as error_class,
             unnest($13::text[]) as error, unnest($14::bigint[]) as delay_ms, unnest($15::boolean[]) as waits) r,
     (select set_config('lock_timeout', '3s', true) offset 0) patience
where q.source = r.source and q.connector = r.connector and q.ref = r.ref and q.lease_no = r.lease_no
returning r.idx
