-- What was done in each minute of the last $1 hours, as one array a minute: Unix time, then the figures.
select json_build_array(extract(epoch from a.minute)::bigint, a.events, a.refused, a.writes, a.failed_writes, a.calls, a.failed_calls, a.synced,
                        round(a.lag_seconds::numeric, 3), round(a.longest_lag_seconds::numeric, 3))::text
from atsync.activity a
where a.minute > now() - $1 * interval '1 hour'
order by a.minute
