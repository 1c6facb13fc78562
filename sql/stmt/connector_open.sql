-- The ATS seems to be away: nothing is tried for a while. Of an open connector only the candidate that was let through to try ($4) shows that it still is:
-- calls that were under way when it opened say nothing new.
update atsync.connector_state
set state = 'open', reason = $3, until = now() + $2 * interval '1 millisecond', since = case when state = 'open' then since else now() end,
    opens = opens + 1, calls = 0, failures = 0, window_at = now()
where connector = $1 and state <> 'paused' and (state <> 'open' or $4)
returning connector
