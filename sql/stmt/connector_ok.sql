-- Ends an automatic pause, a wait, or an open breaker. Who waited for it: connector_wake.
update atsync.connector_state
set state = 'ok', reason = null, hint = null, until = null, since = now(), config_hash = null, opens = 0, calls = 0, failures = 0, window_at = now()
where connector = $1 and state <> 'ok' and not paused_by_operator
