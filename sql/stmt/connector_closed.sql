-- An open breaker knows the ATS under settings that are no more.
update atsync.connector_state
set state = 'ok', reason = null, hint = null, until = null, since = now(), opens = 0, calls = 0, failures = 0, window_at = now()
where connector = $1 and state = 'open'
returning connector
