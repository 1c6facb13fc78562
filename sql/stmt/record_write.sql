-- The intent to make a call, before it is made ("sending"), or a value that is there without one ("applied").
insert into atsync.ats_write as w
    (source, connector, ref, key, rev, kind, target, value, hash, base_hash, job, run_id, workflow_external_id, event_id, event_time, reason,
     config_line, state, attempts, lease_no, first_tried_at, last_tried_at, applied_at)
select i.source, i.connector, i.ref, i.key, i.rev, i.kind, i.target, i.value, i.hash, i.base_hash, i.job, i.run_id, i.workflow_external_id, i.event_id,
       i.event_time, i.reason, i.config_line, i.state, case when i.state = 'sending' then 1 else 0 end, i.lease_no,
       case when i.state = 'sending' then now() end, case when i.state = 'sending' then now() end, case when i.state = 'applied' then now() end
from unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::bigint[], $6::text[], $7::text[], $8::text[], $9::text[], $10::text[], $11::text[],
            $12::text[], $13::text[], $14::text[], $15::timestamptz[], $16::text[], $17::integer[], $18::text[], $19::bigint[])
     as i (source, connector, ref, key, rev, kind, target, value, hash, base_hash, job, run_id, workflow_external_id, event_id, event_time, reason,
           config_line, state, lease_no)
order by i.source, i.connector, i.ref, i.key, i.rev
on conflict (source, connector, ref, key, rev) do update
set state = excluded.state,
    kind = excluded.kind, target = excluded.target, value = excluded.value, hash = excluded.hash,
    event_id = excluded.event_id, event_time = excluded.event_time, reason = excluded.reason, config_line = excluded.config_line,
    uncertain = w.uncertain or w.state = 'sending',
    attempts = w.attempts + 1,
    lease_no = excluded.lease_no,
    first_tried_at = coalesce(w.first_tried_at, now()),
    last_tried_at = now(),
    next_attempt_at = null
