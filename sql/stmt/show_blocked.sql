-- Candidates with whom it does not go on, the longest first: those that failed or wait for something, and those with dead writes (of a crowd of dead
-- writes, some: the issue tells how many there are).
-- plan: anew
with waiting as (
    select c.source, c.connector, c.ref, c.blocked_since as since
    from atsync.candidate c
    where c.blocked_since is not null
    order by c.blocked_since
    limit $1
), dead as (
    select w.source, w.connector, w.ref, min(coalesce(w.first_tried_at, w.created_at)) as since
    from (
        select d.source, d.connector, d.ref, d.first_tried_at, d.created_at
        from atsync.ats_write d
        where d.live and d.state = 'dead'
        limit $1 * 10
    ) w
    group by w.source, w.connector, w.ref
), who as (
    select a.source, a.connector, a.ref, min(a.since) as since
    from (select * from waiting union all select * from dead) a
    group by a.source, a.connector, a.ref
    order by min(a.since)
    limit $1
)
select row_to_json(q)::text
from (
    select s.*, w.since
    from who w
    join lateral ( -- one by one: offset keeps the view from being joined as a whole
        select t.* from atsync.sync_status t where t.source = w.source and t.ref = w.ref and coalesce(t.connector, '') = w.connector offset 0
    ) s on s.blocked_since is not null or s.dead_writes > 0
    order by w.since
    limit $1
) q
