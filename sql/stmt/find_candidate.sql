-- Who is meant by $1 among the sources $2: an external id, a profile, a run, or the reference of a candidate without an external id.
select f.id
from (
    select c.external_id as id, 1 as rank from atsync.candidate c where c.external_id = $1
    union all
    select coalesce(c.external_id, c.ref), 2
    from unnest($2::text[]) as s (source)
    join atsync.candidate c on c.source = s.source and c.ref = $1 and c.connector = ''
    union all
    select i.external_id, 3
    from unnest($2::text[]) as s (source)
    join atsync.identity i on i.source = s.source and i.alias in ('p:' || $1, 'r:' || $1, $1)
    union all
    select coalesce(r.external_id, r.ref), 4
    from unnest($2::text[]) as s (source)
    join atsync.run r on r.source = s.source and r.run_id = $1
) f
where f.id is not null
group by f.id
order by min(f.rank), f.id
limit 20
