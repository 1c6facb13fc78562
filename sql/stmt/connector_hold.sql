-- An operator pauses a connector.
insert into atsync.connector_state as c (connector, state, reason, paused_by_operator)
values ($1, 'paused', $2, true)
on conflict (connector) do update
set state = 'paused', reason = excluded.reason, hint = null, paused_by_operator = true, until = null, since = now()
