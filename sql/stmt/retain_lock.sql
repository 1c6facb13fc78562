-- Keeps the dispatchers away from these candidates, under all their names, for the rest of the transaction, and tells which are idle. Waits for nobody:
-- who is in work or due is left for another time. (offset 0: by index, whatever the planner believes about the number of rows.)
with unit as materialized (
    select * from unnest($1::text[], $2::text[]) with ordinality as u (source, ref, idx)
), name as materialized (
    select u.idx, u.source, u.ref as subject from unit u
    union
    select u.idx, u.source, i.alias
    from unit u
    cross join lateral (select n.alias from atsync.identity n where n.source = u.source and n.ref = u.ref and not n.conflict offset 0) i
), row as materialized (
    select n.idx, c.source, c.connector, c.ref
    from name n
    cross join lateral (
        select q.source, q.connector, q.ref
        from atsync.candidate q
        where q.source = n.source and q.ref = n.subject
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
