-- Forgets runs that are over age: bodies, runs, writes, contacts. The ids of the events stay, without anything about the person, so that a redelivery is
-- still a duplicate; one event of each run keeps reference, run and time, which says what has been settled (load_events).
-- $1, $2: candidates that are locked. $3: the age of what has ended and is written; $4: of all else. $5, $6: events that are nobody's.
-- A run goes after those that began before it, so that no older run becomes the one that decides. Of a candidate of whom other runs are left, what the ATS holds
-- stays known by its hash, without the value: these runs may want the same, and it is not sent again.
-- (offset 0, ctid: by index, whatever the planner believes about the number of rows.)
with unit as materialized (
    select * from unnest($1::text[], $2::text[]) with ordinality as u (source, ref, idx)
), age as materialized (
    select now() - $3 * interval '1 millisecond' as done, now() - $4 * interval '1 millisecond' as undone
), name as materialized (
    select u.idx, u.source, u.ref as subject from unit u
    union
    select u.idx, u.source, i.alias
    from unit u
    cross join lateral (select n.alias from atsync.identity n where n.source = u.source and n.ref = u.ref and not n.conflict offset 0) i
), written as materialized (
    select n.idx, w.tid, w.kind, w.live, w.run_id, w.at, w.live and w.state in ('pending', 'sending', 'dead') as open
    from name n
    cross join lateral (
        select q.ctid as tid, q.kind, q.live, q.run_id, q.state, coalesce(q.applied_at, q.last_tried_at, q.created_at) as at
        from atsync.ats_write q
        where q.source = n.source and q.ref = n.subject
        offset 0
    ) w
), found as materialized (
    select n.idx, n.source, e.*
    from name n
    cross join lateral (
        select q.ctid as tid, q.event_id, q.type, q.event_time, q.received_at, q.run_id, q.body is null as settled
        from atsync.event q
        where q.source = n.source and q.subject = n.subject and q.subject <> ''
        offset 0
    ) e
), told as materialized (
    select f.idx, f.source, f.tid, f.event_id, f.type, f.event_time, f.received_at, f.settled, coalesce(f.run_id, k.record_id) as run_id,
           f.type = 'WORKFLOW_CONTACT_RESOLUTION_FAILED' as is_contact
    from found f
    left join lateral (
        select q.record_id from atsync.contact_resolution q where f.run_id is null and q.source = f.source and q.event_id = f.event_id offset 0
    ) k on true
), run as materialized (
    select t.idx, t.source, t.run_id, t.is_contact, min(t.event_time) as first_time, max(t.event_time) as last_time, max(t.received_at) as newest,
           bool_or(t.is_contact or t.settled or t.type in ('WORKFLOW_RUN_COMPLETED', 'WORKFLOW_RUN_FAILED', 'WORKFLOW_RUN_CANCELLED'))
               and not exists (select from written w where w.idx = t.idx and w.open) as done
    from told t
    where t.run_id is not null
    group by t.idx, t.source, t.run_id, t.is_contact
    having bool_or(not t.settled)
), judged as materialized (
    select r.*, f.tid,
           r.newest < a.undone or bool_and(r.newest < case when r.done then a.done else a.undone end)
                                  over (partition by r.idx order by least(r.first_time, f.started_at), r.run_id, r.is_contact) as over_age
    from run r cross join age a
    left join lateral (
        select q.ctid as tid, q.started_at
        from atsync.run q
        where q.source = r.source and q.run_id = r.run_id and q.is_contact = r.is_contact
              and exists (select from name n where n.idx = r.idx and n.subject = q.ref)
        offset 0
    ) f on true
), gone as materialized (
    select * from judged where over_age
), marked as materialized (
    select t.source, t.tid, t.event_id, u.ref, g.run_id, least(g.last_time, a.done) as until,
           row_number() over (partition by g.idx, g.run_id, g.is_contact order by t.event_time desc, t.event_id desc) = 1 as stays
    from gone g
    join told t on t.idx = g.idx and t.run_id = g.run_id and t.is_contact = g.is_contact and not t.settled
    join unit u on u.idx = g.idx
    cross join age a
    union all
    select t.source, t.tid, t.event_id, null, null, null, false
    from told t cross join age a
    where t.run_id is null and not t.settled and t.received_at < a.done
    union all
    select o.source, e.tid, o.event_id, null, null, null, false
    from unnest($5::text[], $6::text[]) as o (source, event_id)
    cross join lateral (
        select q.ctid as tid from atsync.event q where q.source = o.source and q.event_id = o.event_id and q.body is not null offset 0
    ) e
), emptied as materialized (
    select u.idx
    from unit u
    where not exists (select from told t
                      where t.idx = u.idx and not t.settled and not exists (select from marked m where m.tid = t.tid))
), stripped as (
    update atsync.event e
    set body = null, external_id = null, profile_id = null, workflow_id = null, workflow_external_id = null,
        subject = case when m.stays then m.ref else '' end,
        run_id = case when m.stays then m.run_id end,
        event_time = case when m.stays then m.until else e.event_time end
    from marked m
    where e.ctid = m.tid and e.ctid = any (array(select tid from marked))
    returning 1
), contacts as (
    delete from atsync.contact_resolution
    where ctid = any (array(select k.tid
                            from marked m
                            cross join lateral (select q.ctid as tid from atsync.contact_resolution q
                                                where q.source = m.source and q.event_id = m.event_id offset 0) k))
), runs as (
    delete from atsync.run
    where ctid = any (array(select g.tid from gone g where g.tid is not null
                            union
                            select r.tid
                            from emptied x join name n on n.idx = x.idx
                            cross join lateral (select q.ctid as tid from atsync.run q where q.source = n.source and q.ref = n.subject offset 0) r))
    returning 1
), served as materialized (
    select w.tid, w.last or (w.is_over and not w.is_known) or (not w.live and w.at < (select done from age)) as goes
    from (
        select w.tid, w.live, w.at, w.live and w.kind <> 'note' as is_known, exists (select from emptied x where x.idx = w.idx) as last,
               exists (select from gone g where g.idx = w.idx and g.run_id = w.run_id) as is_over
        from written w
    ) w
    where w.last or w.is_over or (not w.live and w.at < (select done from age))
), writes as (
    delete from atsync.ats_write where ctid = any (array(select tid from served where goes))
    returning 1
), emptied_writes as (
    update atsync.ats_write set value = '', error = null
    where ctid = any (array(select tid from served where not goes)) and value <> ''
    returning 1
), nothing_left as (
    update atsync.candidate
    set state = 'nothing_to_do', blocked_since = null, error_class = null, last_error = null
    where ctid = any (array(
        select c.tid
        from emptied x join name n on n.idx = x.idx
        cross join lateral (
            select q.ctid as tid
            from atsync.candidate q
            where q.source = n.source and q.ref = n.subject and q.due_at is null and q.state <> 'nothing_to_do'
            offset 0
        ) c))
)
select (select count(*) from stripped), (select count(*) from runs), (select count(*) from writes) + (select count(*) from emptied_writes)
