-- How many candidates a resync would touch.
-- plan: anew
select count(distinct (c.source, c.ref))
from atsync.candidate c
where ($1::text is null or c.external_id = $1)
  and ($2::text is null or c.connector in ($2, ''))
  and ($3::text is null or exists (select from atsync.run r where r.source = c.source and r.ref = c.ref and r.workflow_external_id = $3))
  and ($4::timestamptz is null or c.last_event_at >= $4)
  and ($5::text is null or exists (select from atsync.ats_write w where w.source = c.source and w.connector = c.connector and w.ref = c.ref and w.live
                                   and w.state = 'dead' and w.error_class = $5))
