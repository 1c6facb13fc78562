-- What became of the calls.
update atsync.ats_write w
set state = r.state,
    uncertain = r.uncertain,
    applied_at = case when r.state = 'applied' then now() else w.applied_at end,
    next_attempt_at = case when r.delay_ms is not null then now() + r.delay_ms * interval '1 millisecond' end,
    attempts = w.attempts - r.uncounted,
    first_tried_at = case when w.attempts > r.uncounted then w.first_tried_at end,
    http_status = r.http_status,
    error_class = r.error_class,
    error = r.error
from unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::bigint[], $6::text[], $7::boolean[], $8::bigint[], $9::integer[], $10::text[],
            $11::text[], $12::integer[])
     as r (source, connector, ref, key, rev, state, uncertain, delay_ms, http_status, error_class, error, uncounted)
where w.source = r.source and w.connector = r.connector and w.ref = r.ref and w.key = r.key and w.rev = r.rev
