-- Says that somebody asks this source's API, and tells how long to wait. With other settings everything is tried anew.
insert into atsync.source_api as a (source, fingerprint)
values ($1, $2)
on conflict (source) do update
set seen_at = now(), fingerprint = excluded.fingerprint,
    until = case when a.fingerprint = excluded.fingerprint then a.until end,
    failures = case when a.fingerprint = excluded.fingerprint then a.failures else 0 end,
    problem = case when a.fingerprint = excluded.fingerprint then a.problem end,
    error = case when a.fingerprint = excluded.fingerprint then a.error end
returning coalesce(greatest(extract(epoch from until - now()) * 1000, 0), 0)::bigint
