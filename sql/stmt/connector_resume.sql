-- An operator lets a connector go on. Who waited for it: connector_wake.
with resumed as (
    update atsync.connector_state
    set state = 'ok', reason = null, hint = null, until = null, since = now(), paused_by_operator = false, config_hash = null, opens = 0, calls = 0, failures = 0
    where connector = $1 and state <> 'ok'
    returning connector
)
select count(*) from resumed
