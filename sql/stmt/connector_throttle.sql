-- The ATS asked us to wait: for all daemons. A longer wait, an open breaker, or a pause is not shortened.
insert into atsync.connector_state as c (connector, state, reason, until)
values ($1, 'throttled', $3, now() + $2 * interval '1 millisecond')
on conflict (connector) do update
set state = 'throttled', reason = excluded.reason, until = excluded.until, since = case when c.state = 'throttled' then c.since else now() end
where c.state = 'ok' or (c.state = 'throttled' and c.until < excluded.until)
