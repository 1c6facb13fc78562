-- Dead writes are tried again.
-- plan: anew
with again as (
    update atsync.ats_write w
    set state = 'pending', attempts = 0, first_tried_at = null, next_attempt_at = null
    from atsync.candidate c
    where w.live and w.state = 'dead' and c.source = w.source and c.connector = w.connector and c.ref = w.ref
      and ($1::text is null or c.external_id = $1) and ($2::text is null or w.connector = $2) and ($3::text is null or w.workflow_external_id = $3)
      and ($4::timestamptz is null or w.last_tried_at >= $4) and ($5::text is null or w.error_class = $5)
    returning w.source, w.connector, w.ref
), woken as (
    update atsync.candidate c
    set version = c.version + 1, attempts = 0, due_at = case when c.lease_owner is null then now() else c.due_at end
    from (select distinct source, connector, ref from again) a
    where c.source = a.source and c.connector = a.connector and c.ref = a.ref
)
select count(*) from again
