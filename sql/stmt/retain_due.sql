-- The oldest bodies that are over age, after ($2, $3), and whose they are: the candidate's reference where an alias stands for one, '' where it is nobody's.
-- plan: anew
with old as materialized (
    select e.source, e.event_id, e.subject, e.received_at
    from atsync.event e
    where e.body is not null and e.received_at < now() - $1 * interval '1 millisecond' and e.received_at >= $2
          and (e.received_at, e.event_id) > ($2, $3)
    order by e.received_at, e.event_id
    limit $4
)
select o.source, o.event_id, case when o.subject = '' or o.subject like 'w:%' then '' else coalesce(i.ref, o.subject) end, o.received_at
from old o
left join lateral (
    select n.ref
    from atsync.identity n
    where n.source = o.source and n.alias = o.subject and not n.conflict
    order by n.origin = 'operator' desc
    limit 1
) i on true
order by o.received_at, o.event_id
