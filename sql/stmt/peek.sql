-- Candidates by what an operator asks for, page by page in key order, without leasing them.
-- plan: anew
select c.source, c.ref, max(c.external_id), max(c.version), now()
from atsync.candidate c
where ($1::text is null or c.external_id = $1)
  and ($2::text is null or c.connector = $2)
  and ($3::text is null or exists (select from atsync.run r where r.source = c.source and r.ref = c.ref and r.workflow_external_id = $3))
  and ($4::timestamptz is null
       or exists (select from atsync.event e where e.source = c.source and e.subject = c.ref and e.subject <> '' and e.received_at >= $4)
       or exists (select from atsync.identity i
                  join atsync.event e on e.source = i.source and e.subject = i.alias and e.subject <> ''
                  where i.source = c.source and i.ref = c.ref and e.received_at >= $4))
  and ($5::text is null or (c.ref, c.source) > ($6, $5))
  and c.ref ~ '^x:'
group by c.ref, c.source
order by c.ref, c.source
limit $7
