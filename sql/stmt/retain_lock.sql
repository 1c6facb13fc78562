-- Keeps the dispatchers away from these candidates, under all their names, for the rest of the transaction, and tells which are idle. Waits for nobody:
-- who is in work or due is left for another time. (offset 0: by index, whatever the planner believes about the number of rows.)
with recursive unit as materialized (
    select * from unnest($1::text[], $2::text[]) with ordinality as u (source, ref, idx)
), name as materialized (
    select u.idx, u.source, u.ref as subject from unit u
    union
    select u.idx, u.source, i.alias
    from unit u
    cross join lateral (select n.alias from atsync.identity n where n.source = u.source and n.ref = u.ref and not n.conflict offset 0) i
), step (source, connector) as ( -- from one connector that has candidates to the next
    select u.source, (select q.connector from atsync.candidate q where q.source = u.source order by q.connector limit 1)
    from (select distinct source from unit) u
    union all
    select p.source, (select q.connector from atsync.candidate q where q.source = p.source and q.connector > p.connector order by q.connector limit 1)
    from step p
    where p.connector is not null
), connector as materialized (
    select source, array_agg(connector) as names from step where connector is not null group by source
), row as materialized (
    select n.idx, c.source, c.connector, c.ref
    from name n join connector k on k.source = n.source
    cross join lateral (
        select q.source, q.connector, q.ref
        from atsync.candidate q
        where q.source = n.source and q.connector = any (k.names) and q.ref = n.subject
        offset 0
    ) c
), idle as materialized (
    select r.source, r.connector, r.ref
    from (select distinct source, connector, ref from row) r
    cross join lateral (
        select from atsync.candidate q
        where q.source = r.source and q.connector = r.connector and q.ref = r.ref and q.due_at is null
        for update skip locked
    ) c
)
select u.idx
from unit u
where not exists (
    select from row r
    where r.idx = u.idx and not exists (select from idle i where i.source = r.source and i.connector = r.connector and i.ref = r.ref)
)
