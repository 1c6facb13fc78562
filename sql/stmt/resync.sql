-- $4: of whom something was received since then, under whatever name; the sender may tell of what happened long ago.
-- Everything is worked out again for these candidates, a page of $9 in key order behind ($6, $7, $8); what the ATS holds already is not written again.
-- plan: anew
with page as materialized (
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
      and ($6::text is null or (c.ref, c.source, c.connector) > ($8, $6, $7))
    order by c.ref, c.source, c.connector
    limit $9
), locked as materialized (
    select c.source, c.connector, c.ref
    from page p
    join atsync.candidate c on c.source = p.source and c.connector = p.connector and c.ref = p.ref
    order by c.source, c.connector, c.ref -- as whoever stores events does
    for no key update of c
), woken as (
    update atsync.candidate c
    set version = c.version + 1, attempts = 0, due_at = case when c.lease_owner is null then now() else c.due_at end
    from locked p
    where c.source = p.source and c.connector = p.connector and c.ref = p.ref
)
select p.source, p.connector, p.ref, (select count(*) from page) from page p order by p.ref desc, p.source desc, p.connector desc limit 1
