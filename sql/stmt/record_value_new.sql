-- What became of set writes of a new revision, as record_value. Nobody else writes a revision of a candidate that we hold, so that no row is looked for before: that is
-- half of what recording them costs. If one is there in spite of that, the statement fails, and record_value is taken for all.
insert into atsync.ats_write
    (source, connector, ref, key, rev, kind, target, value, hash, base_hash, job, run_id, workflow_external_id, event_id, event_time, reason,
     config_line, state, lease_no, uncertain, attempts, first_tried_at, last_tried_at, next_attempt_at, applied_at, http_status, error_class, error)
select i.source, i.connector, i.ref, i.key, i.rev, i.kind, i.target, i.value, i.hash, i.base_hash, i.job, i.run_id, i.workflow_external_id, i.event_id,
       i.event_time, i.reason, i.config_line, i.state, i.lease_no, i.uncertain, 1 - i.uncounted, case when i.uncounted = 0 then now() end,
       case when i.uncounted = 0 then now() end, case when i.delay_ms is not null then now() + i.delay_ms * interval '1 millisecond' end,
       case when i.state = 'applied' then now() end, i.http_status, i.error_class, i.error
from (select unnest($1::text[]) as source, unnest($2::text[]) as connector, unnest($3::text[]) as ref, unnest($4::text[]) as key,
             unnest($5::bigint[]) as rev, unnest($6::text[]) as kind, unnest($7::text[]) as target, unnest($8::text[]) as value,
             unnest($9::text[]) as hash, unnest($10::text[]) as base_hash, unnest($11::text[]) as job, unnest($12::text[]) as run_id,
             unnest($13::text[]) as workflow_external_id, unnest($14::text[]) as event_id, unnest($15::timestamptz[]) as event_time,
             unnest($16::text[]) as reason, unnest($17::integer[]) as config_line, unnest($18::text[]) as state, unnest($19::bigint[]) as lease_no,
             unnest($20::boolean[]) as uncertain, unnest($21::bigint[]) as delay_ms, unnest($22::integer[]) as http_status,
             unnest($23::text[]) as error_class, unnest($24::text[]) as error, unnest($25::integer[]) as uncounted) i
