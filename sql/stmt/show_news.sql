-- What has happened since $1, in the order of time. A write that changed had a call, and calls are found by their time.
-- plan: anew
select row_to_json(n)::text
from (
    select e.received_at as at, 'event' as kind, e.source, e.external_id as candidate_external_id, e.type as summary,
           concat_ws(', ', 'event ' || e.event_id, 'run ' || e.run_id, 'workflow ' || e.workflow_external_id) as detail
    from atsync.event e
    where e.received_at > $1
    union all
    select a.at, 'call', a.source, c.external_id, a.method || ' ' || a.path || coalesce(' -> ' || a.http_status, ''),
           concat_ws(', ', a.connector, a.verb, a.outcome, round(a.duration_ms) || ' ms', a.error)
    from atsync.ats_call a
    left join atsync.candidate c on c.source = a.source and c.connector = a.connector and c.ref = a.ref
    where a.at > $1
    union all
    select w.changed_at, 'write', r.source, c.external_id, concat_ws(' ', w.kind, nullif(w.target, ''), w.state),
           concat_ws(', ', r.connector, 'because of ' || w.reason, w.attempts || ' attempts', w.error)
    from (select distinct a.source, a.connector, a.ref from atsync.ats_call a where a.at > $1) r
    join lateral (
        select q.*, greatest(q.last_tried_at, q.applied_at) as changed_at
        from atsync.ats_write q
        where q.source = r.source and q.connector = r.connector and q.ref = r.ref and q.state <> 'sending'
    ) w on w.changed_at > $1
    left join atsync.candidate c on c.source = r.source and c.connector = r.connector and c.ref = r.ref
    union all
    select i.first_seen, 'issue', i.source, null, i.class || ' opened', i.message || ' ' || i.hint
    from atsync.issue i
    where i.first_seen > $1
    union all
    select i.closed_at, 'issue', i.source, null, i.class || ' closed', i.message
    from atsync.issue i
    where i.closed_at > $1
) n
order by n.at, array_position(array['event', 'call', 'write', 'issue'], n.kind), n.summary
