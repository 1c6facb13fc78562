-- Says that this daemon is alive, forgets those long gone, and counts those that deliver.
with beat as (
    insert into atsync.daemon as d (owner, delivers, version)
    values ($1, true, $2)
    on conflict (owner) do update set seen_at = now()
    returning owner
), gone as (
    delete from atsync.daemon where seen_at < now() - interval '1 minute'
)
select count(*) from atsync.daemon d where d.delivers and d.seen_at > now() - interval '10 seconds' and d.owner <> $1
