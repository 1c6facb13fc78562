-- Ends an automatic pause, a wait, or an open breaker; who waited for it is due, the longest first.
with resumed as (
    update atsync.connector_state
    set state = 'ok', reason = null, hint = null, until = null, since = now(), config_hash = null, opens = 0, calls = 0, failures = 0, window_at = now()
    where connector = $1 and state <> 'ok' and not paused_by_operator
    returning connector
), woken as (
    update atsync.candidate c
    set due_at = least(c.due_at, c.blocked_since, now())
    from resumed r
    where c.connector = r.connector and c.lease_owner is null and c.due_at is not null
), writes as (
    update atsync.ats_write w
    set next_attempt_at = null
    from resumed r
    where w.connector = r.connector and w.live and w.state = 'pending' and w.next_attempt_at is not null
)
select count(*) from resumed
