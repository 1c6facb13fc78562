-- Adds to what was counted in this minute, and forgets minutes that nobody looks at any more.
with old as (
    delete from atsync.activity_minute where minute < now() - interval '31 days'
)
insert into atsync.activity_minute as m (minute, events, duplicates, refused, writes, failed_writes, calls, failed_calls, synced, lag_ms, longest_lag_ms)
values (date_trunc('minute', now()), $1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
on conflict (minute) do update
set events = m.events + excluded.events, duplicates = m.duplicates + excluded.duplicates, refused = m.refused + excluded.refused,
    writes = m.writes + excluded.writes, failed_writes = m.failed_writes + excluded.failed_writes, calls = m.calls + excluded.calls,
    failed_calls = m.failed_calls + excluded.failed_calls, synced = m.synced + excluded.synced, lag_ms = m.lag_ms + excluded.lag_ms,
    longest_lag_ms = greatest(m.longest_lag_ms, excluded.longest_lag_ms)
