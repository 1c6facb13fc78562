-- Whom a resync would touch, by connector ('' while none is known); the row with total is the sum.
-- plan: anew
with fits as materialized (
    select c.source, c.connector, c.ref
    from atsync.candidate c
    where ($1::text is null or c.external_id = $1)
      and ($2::text is null or c.connector in ($2, ''))
      and ($3::text is null or exists (select from atsync.run r where r.source = c.source and r.ref = c.ref and r.workflow_external_id = $3))
      and ($4::timestamptz is null
           or exists (select from atsync.event e where e.source = c.source and e.subject = c.ref and e.subject <> '' and e.received_at >= $4)
           or exists (select from atsync.identity i
                      join atsync.event e on e.source = i.source and e.subject = i.alias and e.subject <> ''
                      where i.source = c.source and i.ref = c.ref and e.received_at >= $4))
      and ($5::text is null or exists (select from atsync.ats_write w where w.source = c.source and w.connector = c.connector and w.ref = c.ref and w.live
                                       and w.state = 'dead' and w.error_class = $5))
)
select null as connector, null::text, 0::bigint, count(*) as candidates, true as total
from (select distinct f.source, f.ref from fits f) d
union all
select f.connector, null, 0, count(*), false
from fits f
group by f.connector
order by total desc, candidates desc, connector
