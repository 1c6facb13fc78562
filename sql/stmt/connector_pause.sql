-- Nothing can succeed before the configuration changes.
insert into atsync.connector_state as c (connector, state, reason, config_hash)
values ($1, 'paused', $2, $3)
on conflict (connector) do update
set state = 'paused', reason = excluded.reason, config_hash = excluded.config_hash, until = null,
    since = case when c.state = 'paused' then c.since else now() end
