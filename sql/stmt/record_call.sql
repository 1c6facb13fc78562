-- The calls that were made.
insert into atsync.ats_call (source, connector, ref, at, verb, method, path, http_status, outcome, duration_ms, error)
select u.source, u.connector, u.ref, now() - u.ago_ms * interval '1 millisecond', u.verb, u.method, u.path, u.http_status, u.outcome,
       u.duration_us / 1000.0, u.error
from (select unnest($1::text[]) as source, unnest($2::text[]) as connector, unnest($3::text[]) as ref, unnest($4::bigint[]) as ago_ms,
             unnest($5::text[]) as verb, unnest($6::text[]) as method, unnest($7::text[]) as path, unnest($8::integer[]) as http_status,
             unnest($9::text[]) as outcome, unnest($10::bigint[]) as duration_us, unnest($11::text[]) as error) u
