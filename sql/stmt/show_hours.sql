-- What was done in each of the last 24 hours, the newest first.
select row_to_json(h)::text
from (
    select date_trunc('hour', a.minute) as at, sum(a.events)::bigint as events, sum(a.refused)::bigint as refused, sum(a.writes)::bigint as writes,
           sum(a.failed_writes)::bigint as failed_writes, sum(a.synced)::bigint as synced,
           sum(a.lag_seconds * a.synced) / nullif(sum(a.synced), 0) as lag_seconds, max(a.longest_lag_seconds) as longest_lag_seconds
    from atsync.activity a
    where a.minute > now() - interval '24 hours'
    group by 1
    order by 1 desc
) h
