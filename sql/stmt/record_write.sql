-- The intent to make a call, before it is made ("sending"); a value that is there without one ("applied"), or that waits for its connector ("pending").
insert into atsync.ats_write as w
    (source, connector, ref, key, rev, kind, target, value, hash, base_hash, job, run_id, workflow_external_id, event_id, event_time, reason,
     config_line, state, attempts, lease_no, first_tried_at, last_tried_at, applied_at)
select i.source, i.connector, i.ref, i.key, i.rev, i.kind, i.target, i.value, i.hash, i.base_hash, i.job, i.run_id, i.workflow_external_id, i.event_id,
       i.event_time, i.reason, i.config_line, i.state, case when i.state = 'sending' then 1 else 0 end, i.lease_no,
       case when i.state = 'sending' then now() end, case when i.state = 'sending' then now() end, case when i.state = 'applied' then now() end
from (select unnest($1::text[]) as source, unnest($2::text[]) as connector, unnest($3::text[]) as ref, unnest($4::text[]) as key,
             unnest($5::bigint[]) as rev, unnest($6::text[]) as kind, unnest($7::text[]) as target, unnest($8::text[]) as value,
             unnest($9::text[]) as hash, unnest($10::text[]) as base_hash, unnest($11::text[]) as job, unnest($12::text[]) as run_id,
             unnest($13::text[]) as workflow_external_id, unnest($14::text[]) as event_id, unnest($15::timestamptz[]) as event_time,
             unnest($16::text[]) as reason, unnest($17::integer[]) as config_line, unnest($18::text[]) as state, unnest($19::bigint[]) as lease_no) i
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
