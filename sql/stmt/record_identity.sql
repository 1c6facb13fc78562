-- Learns other names of candidates, marks those that events give to two, and wakes what waited under them. $5: names that are only woken.
with named as (
    select distinct u.source, u.alias, u.ref, u.external_id
    from (select unnest($1::text[]) as source, unnest($2::text[]) as alias, unnest($3::text[]) as ref, unnest($4::text[]) as external_id) u
), judged as (
    select n.*, o.others or count(*) over (partition by n.source, n.alias) > 1 as torn
    from named n
    cross join lateral (
        select exists (select from atsync.identity i where i.source = n.source and i.alias = n.alias and i.ref <> n.ref) as others
    ) o
), learned as (
    insert into atsync.identity as i (source, alias, ref, external_id, origin, conflict)
    select j.source, j.alias, j.ref, j.external_id, 'event',
           j.torn
    from judged j
    order by j.source, j.alias, j.ref
    on conflict (source, alias, ref) do nothing
    returning source, alias
), torn as (
    update atsync.identity i
    set conflict = true
    from judged j
    where j.torn and i.source = j.source and i.alias = j.alias and i.origin <> 'operator' and not i.conflict
), waiting as materialized (
    select source, alias, '' as unrouted from learned
    union
    select w.source, w.alias, '' from unnest($5::text[], $6::text[]) as w (source, alias)
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
    ) f))
