-- Dead writes are given up: they are not tried again unless a newer event wants something else.
-- plan: anew
with given_up as (
    update atsync.ats_write w
    set state = 'skipped', error = coalesce('given up by an operator: ' || w.error, 'given up by an operator')
    from atsync.candidate c
    where w.live and w.state = 'dead' and c.source = w.source and c.connector = w.connector and c.ref = w.ref
      and ($1::text is null or c.external_id = $1) and ($2::text is null or w.connector = $2) and ($3::text is null or w.workflow_external_id = $3)
      and ($4::timestamptz is null or w.last_tried_at >= $4) and ($5::text is null or w.error_class = $5)
    returning w.source
)
select count(*) from given_up
