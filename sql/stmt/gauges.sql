-- Candidates in the queue by connector and state (as sync_state has it), and for how many seconds the oldest of them has been due, for the metrics. Of those
-- that nothing is done for, only those without a connector.
-- plan: anew
select c.connector, atsync.sync_state(c.state, c.connector, coalesce(c.lease_until > now(), false), true, c.attempts > 0, false, false, s.state,
                                      coalesce(s.state = 'throttled' and s.until > now(), false)) as state, count(*),
       coalesce(extract(epoch from now() - min(c.due_at) filter (where c.due_at <= now() and c.lease_until > now() is not true)), 0)::double precision
from atsync.candidate c
left join atsync.connector_state s on s.connector = c.connector
where c.due_at is not null
group by 1, 2
union all
select '', c.state, count(*), 0
from atsync.candidate c
where c.connector = '' and c.due_at is null
group by c.state
