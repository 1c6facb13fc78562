-- Dead writes are tried again: those of a page of $9 candidates in key order behind ($6, $7, $8).
-- plan: anew
with page as (
    select c.source, c.connector, c.ref
    from (
        select distinct w.source, w.connector, w.ref
        from atsync.ats_write w
        join atsync.candidate c on c.source = w.source and c.connector = w.connector and c.ref = w.ref
        where w.live and w.state = 'dead'
          and ($1::text is null or c.external_id = $1) and ($2::text is null or w.connector = $2) and ($3::text is null or w.workflow_external_id = $3)
          and ($4::timestamptz is null or w.last_tried_at >= $4) and ($5::text is null or w.error_class = $5)
          and ($6::text is null or (w.source, w.connector, w.ref) > ($6, $7, $8))
        order by w.source, w.connector, w.ref
        limit $9
    ) d
    join atsync.candidate c on c.source = d.source and c.connector = d.connector and c.ref = d.ref
    order by c.source, c.connector, c.ref
    for no key update of c
), again as (
    update atsync.ats_write w
    set state = 'pending', attempts = 0, first_tried_at = null, next_attempt_at = null
    from page p
    where w.source = p.source and w.connector = p.connector and w.ref = p.ref and w.live and w.state = 'dead'
      and ($3::text is null or w.workflow_external_id = $3) and ($4::timestamptz is null or w.last_tried_at >= $4) and ($5::text is null or w.error_class = $5)
    returning w.source
), woken as (
    update atsync.candidate c
    set version = c.version + 1, attempts = 0, due_at = case when c.lease_owner is null then now() else c.due_at end
    from page p
    where c.source = p.source and c.connector = p.connector and c.ref = p.ref
)
select p.source, p.connector, p.ref, (select count(*) from again) from page p order by p.source desc, p.connector desc, p.ref desc limit 1
