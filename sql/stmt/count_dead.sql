-- What a retry or skip would touch, by connector and class of error; the row with total is the sum.
-- plan: anew
select w.connector, w.error_class, count(*) as writes, count(distinct (w.source, w.ref)) as candidates, grouping(w.connector) = 1 as total
from (
    select w.source, w.connector, w.ref, coalesce(w.error_class, 'invalid') as error_class
    from atsync.ats_write w
    join atsync.candidate c on c.source = w.source and c.connector = w.connector and c.ref = w.ref
    where w.live and w.state = 'dead'
      and ($1::text is null or c.external_id = $1) and ($2::text is null or w.connector = $2) and ($3::text is null or w.workflow_external_id = $3)
      and ($4::timestamptz is null or w.last_tried_at >= $4) and ($5::text is null or w.error_class = $5)
) w
group by grouping sets ((w.connector, w.error_class), ())
order by total desc, writes desc, w.connector, w.error_class
