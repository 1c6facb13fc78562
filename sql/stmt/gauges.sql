-- Candidates in the queue by connector and state, for the metric; what is idle does not count.
-- plan: anew
select c.connector, case when c.lease_owner is not null and c.due_at > now() then 'in_progress' when c.attempts > 0 then 'retrying' else 'pending' end as state, count(*)
from atsync.candidate c
where c.due_at is not null
group by 1, 2
union all
select '', c.state, count(*)
from atsync.candidate c
where c.connector = '' and c.due_at is null
group by c.state
