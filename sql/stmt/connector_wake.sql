-- A connector goes on since $3 (null: now): some of its candidates that would be tried later ($2: 1 of those that failed, 0 of the others) are due, the longest first, and so are their
-- writes; each once. To be repeated until it finds nobody. Small, and without waiting for anybody: a crowd in one statement would keep their events out for as long as it
-- takes, and lock them in another order than who stores these.
with page as materialized (
    select c.source, c.ref, c.ctid as place
    from atsync.candidate c
    where c.connector = $1 and least(c.attempts, 1) = $2 and c.due_at is not null and c.due_at > least(c.blocked_since, now()) and c.lease_owner is null
      and coalesce(c.tried_again_at, '-infinity') < coalesce($3, now())
    order by c.due_at desc
    limit 1000
    for no key update of c skip locked
), woken as (
    update atsync.candidate c
    set due_at = least(c.blocked_since, now()), tried_again_at = coalesce($3, now())
    where c.ctid = any (array(select place from page))
), writes as (
    update atsync.ats_write w
    set next_attempt_at = null
    from page p
    where w.source = p.source and w.connector = $1 and w.ref = p.ref and w.live and w.state = 'pending' and w.next_attempt_at is not null
)
select count(*), coalesce($3, now()) from page
