-- A connector's configuration has changed ($2: when that was noticed): some of what failed because of it, and of what waits to be tried again, is tried now, the longest
-- first. Each candidate once, whatever becomes of it under the new configuration. To be repeated until it finds nobody; small, and without waiting for anybody, as connector_wake. What the ATS
-- asked to wait and an operator's pause stay, and so does the time after which a note is looked for that may be there. Returns how many it has found, and how many of
-- those it has woken: not whose rows somebody holds.
with failed as materialized (
    (select w.source, w.ref
     from atsync.ats_write w
     join atsync.candidate c on c.source = w.source and c.connector = w.connector and c.ref = w.ref
     where w.live and w.connector = $1 and w.state = 'dead' and w.error_class in ('configuration', 'permission', 'credentials', 'connector')
       and coalesce(c.tried_again_at, '-infinity') < $2
     limit 1000)
    union
    (select w.source, w.ref
     from atsync.ats_write w
     join atsync.candidate c on c.source = w.source and c.connector = w.connector and c.ref = w.ref
     where w.live and w.connector = $1 and w.state = 'pending' and w.next_attempt_at > now() and not w.uncertain
       and coalesce(c.tried_again_at, '-infinity') < $2
     limit 1000)
    union
    (select c.source, c.ref -- failed before there was anything to write
     from atsync.candidate c
     where c.connector = $1 and least(c.attempts, 1) = 1 and c.due_at > now() and c.lease_owner is null
       and coalesce(c.tried_again_at, '-infinity') < $2
     limit 1000)
), who as materialized (
    select c.source, c.ref
    from failed f
    join atsync.candidate c on c.source = f.source and c.connector = $1 and c.ref = f.ref
    for no key update of c skip locked
), again as (
    update atsync.ats_write w
    set state = 'pending', next_attempt_at = null, attempts = case when w.state = 'dead' then 0 else w.attempts end,
        first_tried_at = case when w.state = 'dead' then null else w.first_tried_at end
    from who
    where w.source = who.source and w.connector = $1 and w.ref = who.ref and w.live
      and (w.state = 'dead' and w.error_class in ('configuration', 'permission', 'credentials', 'connector')
           or w.state = 'pending' and w.next_attempt_at > now() and not w.uncertain)
), woken as (
    update atsync.candidate c
    set version = c.version + 1, attempts = 0, tried_again_at = $2,
        due_at = case when c.lease_owner is null then least(c.due_at, c.blocked_since, now()) else c.due_at end
    from who
    where c.source = who.source and c.connector = $1 and c.ref = who.ref
)
select (select count(*) from failed), (select count(*) from who)
