-- An operator lets a connector go on; who waited for it is due at once.
with resumed as (
    update atsync.connector_state
    set state = 'ok', reason = null, until = null, since = now(), paused_by_operator = false, config_hash = null
    where connector = $1 and state <> 'ok'
    returning connector
), woken as (
    update atsync.candidate c
    set due_at = now(), attempts = 0
    from resumed r
    where c.connector = r.connector and c.lease_owner is null and c.due_at is not null
)
select count(*) from resumed
