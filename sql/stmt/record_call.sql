-- The calls that were made.
insert into atsync.ats_call (source, connector, ref, at, verb, method, path, http_status, outcome, duration_ms, error)
select u.source, u.connector, u.ref, now() - u.ago_ms * interval '1 millisecond', u.verb, u.method, u.path, u.http_status, u.outcome,
       u.duration_us / 1000.0, u.error
from unnest($1::text[], $2::text[], $3::text[], $4::bigint[], $5::text[], $6::text[], $7::text[], $8::integer[], $9::text[], $10::bigint[], $11::text[])
     as u (source, connector, ref, ago_ms, verb, method, path, http_status, outcome, duration_us, error)
