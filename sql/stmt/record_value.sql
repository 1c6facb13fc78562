-- What became of set writes: the value with its outcome, in one row. A repetition is another attempt of the row that is there.
insert into atsync.ats_write as w
    (source, connector, ref, key, rev, kind, target, value, hash, base_hash, job, run_id, workflow_external_id, event_id, event_time, reason,
     config_line, state, lease_no, uncertain, attempts, first_tried_at, last_tried_at, next_attempt_at, applied_at, http_status, error_class, error)
select i.source, i.connector, i.ref, i.key, i.rev, i.kind, i.target, i.value, i.hash, i.base_hash, i.job, i.run_id, i.workflow_external_id, i.event_id,
       i.event_time, i.reason, i.config_line, i.state, i.lease_no, i.uncertain, 1 - i.uncounted, case when i.uncounted = 0 then now() end,
       case when i.uncounted = 0 then now() end, case when i.delay_ms is not null then now() + i.delay_ms * interval '1 millisecond' end,
       case when i.state = 'applied' then now() end, i.http_status, i.error_class, i.error
from unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::bigint[], $6::text[], $7::text[], $8::text[], $9::text[], $10::text[], $11::text[],
            $12::text[], $13::text[], $14::text[], $15::timestamptz[], $16::text[], $17::integer[], $18::text[], $19::bigint[], $20::boolean[],
            $21::bigint[], $22::integer[], $23::text[], $24::text[], $25::integer[])
     as i (source, connector, ref, key, rev, kind, target, value, hash, base_hash, job, run_id, workflow_external_id, event_id, event_time, reason,
           config_line, state, lease_no, uncertain, delay_ms, http_status, error_class, error, uncounted)
on conflict (source, connector, ref, key, rev) do update
set kind = excluded.kind, target = excluded.target, value = excluded.value, hash = excluded.hash,
    event_id = excluded.event_id, event_time = excluded.event_time, reason = excluded.reason, config_line = excluded.config_line,
    state = excluded.state, lease_no = excluded.lease_no, uncertain = excluded.uncertain,
    attempts = w.attempts + excluded.attempts,
    first_tried_at = coalesce(w.first_tried_at, excluded.first_tried_at),
    last_tried_at = coalesce(excluded.last_tried_at, w.last_tried_at),
    next_attempt_at = excluded.next_attempt_at,
    applied_at = coalesce(excluded.applied_at, w.applied_at),
    http_status = excluded.http_status, error_class = excluded.error_class, error = excluded.error
