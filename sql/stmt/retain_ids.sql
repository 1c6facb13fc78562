-- Forgets ids of events whose bodies went long ago; with the last of them, whom they were about.
-- (offset 0, ctid: by index, whatever the planner believes about the number of rows.)
-- plan: anew
with old as materialized (
    select e.ctid as tid, e.source, e.event_id, e.subject, e.run_id
    from atsync.event e
    where e.body is null and e.received_at < now() - $1 * interval '1 millisecond'
    order by e.received_at
    limit $2
), who as materialized (
    select distinct o.source, o.subject as ref from old o where o.subject <> ''
), name as materialized (
    select w.source, w.ref, w.ref as subject from who w
    union
    select w.source, w.ref, i.alias
    from who w
    cross join lateral (select n.alias from atsync.identity n where n.source = w.source and n.ref = w.ref offset 0) i
), needed as materialized (
    select distinct n.source, n.ref
    from name n
    cross join lateral (
        select q.event_id from atsync.event q where q.source = n.source and q.subject = n.subject and q.subject <> '' offset 0
    ) e
    where not exists (select from old o where o.source = n.source and o.event_id = e.event_id)
), forgotten as materialized (
    select w.source, w.ref from who w where not exists (select from needed n where n.source = w.source and n.ref = w.ref)
), unused as materialized (
    select c.tid
    from forgotten f
    join name n on n.source = f.source and n.ref = f.ref
    cross join lateral (
        select q.ctid as tid
        from atsync.candidate q
        where q.source = n.source and q.ref = n.subject and q.due_at is null
              and not exists (select from atsync.ats_write w where w.source = q.source and w.connector = q.connector and w.ref = q.ref)
        for update skip locked
    ) c
), kept as materialized ( -- whoever has something to do, or is held by somebody, stays for another time
    select distinct f.source, f.ref
    from forgotten f
    join name n on n.source = f.source and n.ref = f.ref
    cross join lateral (
        select q.ctid as tid from atsync.candidate q where q.source = n.source and q.ref = n.subject offset 0
    ) c
    where not exists (select from unused u where u.tid = c.tid)
), candidates as (
    delete from atsync.candidate where ctid = any (array(select tid from unused))
), identities as (
    delete from atsync.identity
    where ctid = any (array(select i.tid
                            from forgotten f
                            cross join lateral (select n.ctid as tid from atsync.identity n where n.source = f.source and n.ref = f.ref offset 0) i
                            where not exists (select from kept k where k.source = f.source and k.ref = f.ref)))
), gone as (
    delete from atsync.event
    where ctid = any (array(select o.tid from old o where not exists (select from kept k where k.source = o.source and k.ref = o.subject)))
    returning 1
)
select count(*) from gone
