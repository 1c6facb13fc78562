-- Nothing can succeed before the configuration changes; the hint says what a person can do.
insert into atsync.connector_state as c (connector, state, reason, hint, config_hash)
values ($1, 'paused', $2, $3, $4)
on conflict (connector) do update
set state = 'paused', reason = excluded.reason, hint = excluded.hint, config_hash = excluded.config_hash, until = null,
    since = case when c.state = 'paused' then c.since else now() end
