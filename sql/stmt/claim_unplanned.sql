-- Leases candidates of a connector that waits: up to $4 of those that are due and have something new to be worked out, in the order in which they are due, of the
-- 1000 behind ($6, $7). Says also how far that came: to the last one that was leased when all of the $4 were, else to the end of the 1000; null: to the end of all.
-- One whose calls were interrupted waits for them as it is.
with page as materialized (
    select d.ctid as place, d.due_at,
           d.version > d.planned_version and d.sending is null and (d.lease_until is null or d.lease_until <= now()) as is_new
    from atsync.candidate d
    where d.connector = $1 and least(d.attempts, 1) = $5 and d.due_at >= $6 and d.due_at <= now() and (d.due_at, d.ctid) > ($6, $7::tid)
    order by d.due_at, d.ctid
    limit 1000
), chosen as materialized (
    select place, due_at from page where is_new order by due_at, place limit $4
), leased as (
    update atsync.candidate c
    set lease_no = c.lease_no + 1,
        lease_owner = $2,
        lease_until = now() + $3 * interval '1 millisecond'
    where c.ctid = any (array(
        select d.ctid
        from atsync.candidate d
        where d.ctid = any (array(select place from chosen)) and d.version > d.planned_version and d.sending is null
              and (d.lease_until is null or d.lease_until <= now())
        for update skip locked))
    returning c.source, c.connector, c.ref, c.external_id, c.version, c.lease_no, c.attempts::bigint, c.due_at, c.sending
), came_to as (
    select s.due_at, s.place
    from (select p.due_at, p.place from page p where (select count(*) from chosen) < $4 and (select count(*) from page) = 1000
          union all
          select h.due_at, h.place from chosen h where (select count(*) from chosen) = $4) s
    order by s.due_at desc, s.place desc
    limit 1
)
select l.source, l.connector, l.ref, l.external_id, l.version, l.lease_no, l.attempts, l.due_at, now(), l.sending, null
from leased l
union all
select null, null, null, null, null, null, null, (select due_at from came_to), now(), null, (select place::text from came_to)
