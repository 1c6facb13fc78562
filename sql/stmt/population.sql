-- Candidates of a connector that nothing is done for now, by connector and state, for the metric. Reads all of them: asked seldom.
-- plan: anew
select c.connector, c.state, count(*), 0::double precision
from atsync.candidate c
where c.due_at is null and c.connector <> ''
group by c.connector, c.state
