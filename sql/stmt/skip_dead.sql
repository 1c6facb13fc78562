-- Dead writes are given up, about $7 of them, but none that was tried since $6 (null: now): not tried again unless a newer event wants something else. Their candidates are
-- looked at, so that they stand as they do without them.
-- plan: anew
with page as (
    select c.source, c.connector, c.ref
    from (
        select distinct d.source, d.connector, d.ref
        from (
            select w.source, w.connector, w.ref
            from atsync.ats_write w
            where w.live and w.state = 'dead' and (w.last_tried_at is null or w.last_tried_at < coalesce($6, now()))
              and ($1::text is null or exists (select from atsync.candidate c
                                               where c.source = w.source and c.connector = w.connector and c.ref = w.ref and c.external_id = $1))
              and ($2::text is null or w.connector = $2) and ($3::text is null or w.workflow_external_id = $3)
              and ($4::timestamptz is null or w.last_tried_at >= $4) and ($5::text is null or w.error_class = $5)
            limit $7
        ) d
    ) d
    join atsync.candidate c on c.source = d.source and c.connector = d.connector and c.ref = d.ref
    order by c.source, c.connector, c.ref
    for no key update of c
), given_up as (
    update atsync.ats_write w
    set state = 'skipped', error = coalesce('given up by an operator: ' || w.error, 'given up by an operator')
    from page p
    -- said so that each candidate's writes are found by their key, and not all that are dead are gone through for each
    where w.source = p.source and w.connector = p.connector and w.ref = p.ref and case when w.live then w.state end = 'dead'
      and (w.last_tried_at is null or w.last_tried_at < coalesce($6, now())) and ($3::text is null or w.workflow_external_id = $3)
      and ($4::timestamptz is null or w.last_tried_at >= $4) and ($5::text is null or w.error_class = $5)
    returning w.source, w.connector, w.ref
), looked_at as (
    update atsync.candidate c
    set version = c.version + 1, due_at = case when c.lease_owner is null then least(c.due_at, now()) else c.due_at end
    from (select distinct g.source, g.connector, g.ref from given_up g) g
    where c.source = g.source and c.connector = g.connector and c.ref = g.ref
)
select (select count(*) from given_up), coalesce($6, now())
