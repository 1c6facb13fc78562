-- Counts calls and failures of the last half minute, for all daemons together.
update atsync.connector_state
set calls = case when window_at > now() - $4 * interval '1 millisecond' then calls else 0 end + $2,
    failures = case when window_at > now() - $4 * interval '1 millisecond' then failures else 0 end + $3,
    window_at = case when window_at > now() - $4 * interval '1 millisecond' then window_at else now() end
where connector = $1
returning calls, failures, opens::bigint, state
