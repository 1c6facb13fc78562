-- The open issues, the worst first; with $1 those that were closed too, the last closed first; 10,000 at most.
select row_to_json(i)::text
from atsync.issues i
where $1::boolean or i.closed_at is null
order by i.closed_at desc nulls first, array_position(array['error', 'warning', 'info'], i.severity), i.first_seen, i.id
limit 10000
