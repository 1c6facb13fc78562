-- An operator lets a connector go on; who waited for it is due, the longest first.
with resumed as (
    update atsync.connector_state
    set state = 'ok', reason = null, hint = null, until = null, since = now(), paused_by_operator = false, config_hash = null, opens = 0, calls = 0, failures = 0
    where connector = $1 and state <> 'ok'
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
