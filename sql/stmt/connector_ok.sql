-- Ends an automatic pause; who waited for it is due at once.
with resumed as (
    update atsync.connector_state
    set state = 'ok', reason = null, until = null, since = now(), config_hash = null
    where connector = $1 and state <> 'ok' and not paused_by_operator
    returning connector
), woken as (
    update atsync.candidate c
    set due_at = now(), attempts = 0
    from resumed r
    where c.connector = r.connector and c.lease_owner is null and c.due_at is not null
), writes as (
    update atsync.ats_write w
    set next_attempt_at = null
    from resumed r
    where w.connector = r.connector and w.live and w.state = 'pending'
)
select count(*) from resumed
