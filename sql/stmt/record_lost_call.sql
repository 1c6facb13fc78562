-- The calls that were made for candidates whose lease was lost, as record_call, unless the candidate was erased meanwhile: then nothing is kept, and it is told.
-- Who is being erased at this moment is not waited for.
with u as materialized (
    select *
    from unnest($1::text[], $2::text[], $3::text[], $4::bigint[], $5::text[], $6::text[], $7::text[], $8::integer[], $9::text[], $10::bigint[], $11::text[])
         as u (source, connector, ref, ago_ms, verb, method, path, http_status, outcome, duration_us, error)
), there as materialized (
    select c.source, c.connector, c.ref
    from (select distinct source, connector, ref from u) w
    join atsync.candidate c on c.source = w.source and c.connector = w.connector and c.ref = w.ref
    for key share of c skip locked
), kept as (
    insert into atsync.ats_call (source, connector, ref, at, verb, method, path, http_status, outcome, duration_ms, error)
    select u.source, u.connector, u.ref, now() - u.ago_ms * interval '1 millisecond', u.verb, u.method, u.path, u.http_status, u.outcome,
           u.duration_us / 1000.0, u.error
    from u
    join there t on t.source = u.source and t.connector = u.connector and t.ref = u.ref
)
select t.source, t.connector, t.ref from there t
