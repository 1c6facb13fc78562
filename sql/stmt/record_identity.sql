-- Learns other names of candidates, marks those that events give to two, and wakes what waited under them. Each name of a candidate comes once, in the order of
-- the keys; $5: the batch itself gives this name to two. $6, $7: names that are only woken. A row that somebody else makes meanwhile fails the statement, and the
-- transaction is repeated: looking first costs less than ON CONFLICT.
with judged as materialized (
    select n.source, n.alias, n.ref, n.external_id, o.is_known, n.is_torn or o.has_others as is_torn
    from (select unnest($1::text[]) as source, unnest($2::text[]) as alias, unnest($3::text[]) as ref, unnest($4::text[]) as external_id,
                 unnest($5::boolean[]) as is_torn) n
    cross join lateral (
        select coalesce(bool_or(i.ref = n.ref), false) as is_known, coalesce(bool_or(i.ref <> n.ref), false) as has_others
        from atsync.identity i
        where i.source = n.source and i.alias = n.alias
    ) o
), learned as (
    insert into atsync.identity (source, alias, ref, external_id, origin, conflict)
    select j.source, j.alias, j.ref, j.external_id, 'event', j.is_torn
    from judged j
    where not j.is_known
    returning source, alias
), torn as (
    update atsync.identity i
    set conflict = true
    from judged j
    where j.is_torn and i.source = j.source and i.alias = j.alias and i.origin <> 'operator' and not i.conflict
), waiting as materialized (
    select source, alias, '' as unrouted from learned
    union all
    select w.source, w.alias, '' from unnest($6::text[], $7::text[]) as w (source, alias)
)
update atsync.candidate q
set version = q.version + 1, due_at = case when q.lease_owner is null then now() else q.due_at end
where q.ctid = any (array(
    select f.tid
    from waiting w
    cross join lateral ( -- by its key, however many wait and whatever the planner believes about their number
        select c.ctid as tid
        from atsync.candidate c
        where c.source = w.source and c.connector = w.unrouted and c.ref = w.alias
        for update skip locked -- who is being looked at this moment is found by wake_identified
    ) f
    where exists (select from atsync.candidate u where u.connector = ''))) -- mostly nobody waits
