-- The live rows of the ledger in full, each with the value that was applied last under its key.
select c.idx, w.key, w.kind, w.target, w.value, w.state, w.error, w.workflow_external_id, w.run_id, w.event_id, w.reason, w.config_line::bigint,
       w.next_attempt_at, a.kind, a.value
from unnest($1::text[], $2::text[], $3::text[]) with ordinality as c (source, connector, ref, idx)
join atsync.ats_write w on w.source = c.source and w.connector = c.connector and w.ref = c.ref and w.live
left join lateral (
    select p.kind, p.value
    from atsync.ats_write p
    where p.source = w.source and p.connector = w.connector and p.ref = w.ref and p.key = w.key and p.state = 'applied'
    order by p.rev desc
    limit 1
) a on true
order by c.idx, w.key collate "C"
