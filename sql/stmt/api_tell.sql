-- How it went. $2: what is wrong with the API, null: nothing; then all stop for $4 ms, doubled with each failure up to $5, and for $6 ms at least.
-- 'limit': until the day is over.
update atsync.source_api
set failures = case when $2 is null then 0 else least(failures + 1, 30) end,
    problem = $2,
    error = $3,
    until = case when $2 is null then null
                 when $2 = 'limit' then (date_trunc('day', now() at time zone 'UTC') + interval '1 day') at time zone 'UTC'
                 else now() + greatest(least($4 * power(2, failures), $5), $6) * interval '1 millisecond' end
where source = $1
