-- The last $2 things that happened to a candidate, in the order of time.
select row_to_json(t)::text
from (
    select l.*
    from atsync.candidate_timeline l
    where l.candidate_external_id = $1
    order by l.at desc, array_position(array['event', 'call', 'write', 'issue'], l.kind) desc, l.summary desc
    limit $2
) t
order by t.at, array_position(array['event', 'call', 'write', 'issue'], t.kind), t.summary
