-- What was done in the last hour.
select row_to_json(h)::text
from (
    select coalesce(sum(a.events), 0)::bigint as events, coalesce(sum(a.duplicates), 0)::bigint as duplicates, coalesce(sum(a.refused), 0)::bigint as refused,
           coalesce(sum(a.writes), 0)::bigint as writes, coalesce(sum(a.failed_writes), 0)::bigint as failed_writes,
           coalesce(sum(a.calls), 0)::bigint as calls, coalesce(sum(a.failed_calls), 0)::bigint as failed_calls,
           coalesce(sum(a.synced), 0)::bigint as synced, sum(a.lag_seconds * a.synced) / nullif(sum(a.synced), 0) as lag_seconds,
           coalesce(max(a.longest_lag_seconds), 0) as longest_lag_seconds
    from atsync.activity a
    where a.minute > now() - interval '1 hour'
) h
