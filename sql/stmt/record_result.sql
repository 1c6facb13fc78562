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
from (select unnest($1::text[]) as source, unnest($2::text[]) as connector, unnest($3::text[]) as ref, unnest($4::text[]) as key,
             unnest($5::bigint[]) as rev, unnest($6::text[]) as state, unnest($7::boolean[]) as uncertain, unnest($8::bigint[]) as delay_ms,
             unnest($9::integer[]) as http_status, unnest($10::text[]) as error_class, unnest($11::text[]) as error,
             unnest($12::integer[]) as uncounted) r
where w.source = r.source and w.connector = r.connector and w.ref = r.ref and w.key = r.key and w.rev = r.rev
