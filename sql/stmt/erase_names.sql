-- The names that are one step away from those known ($2): of the same person, or shared with somebody else ($3: the person's own reference with an external
-- id, null: none is known), and then left alone. No step leads to another external id. $4: names that an event told.
-- plan: anew
with known as materialized (
    select u.name from unnest($2::text[]) as u (name)
), address as materialized (
    select distinct lower(q.email collate "C") as email, q.phone_number
    from atsync.contact_resolution q
    where q.source = $1 and q.ref = any ($2)
), step as materialized (
    select u.name from unnest($4::text[]) as u (name)
    union
    select i.alias from atsync.identity i where i.source = $1 and i.ref = $3
    union
    select u.name
    from atsync.run r cross join lateral (values ('r:' || r.run_id), ('p:' || r.profile_id)) as u (name)
    where r.source = $1 and r.ref = any ($2)
    union
    select u.name
    from atsync.event e cross join lateral (values ('r:' || e.run_id), ('p:' || e.profile_id)) as u (name)
    where e.source = $1 and e.subject = any ($2) and e.subject <> ''
    union
    select u.name
    from atsync.contact_resolution q
    cross join lateral (values (case when q.kind <> 'failed' then 'r:' || q.record_id end), ('p:' || q.profile_id), ('m:' || lower(q.email collate "C")),
                               ('t:' || q.phone_number)) as u (name)
    where q.source = $1 and q.ref = any ($2)
    union
    -- contacts that failed, of whom the address is all that is known
    select q.ref
    from address a
    join atsync.contact_resolution q on q.source = $1 and q.kind = 'failed' and q.external_id is null and q.ref like 'c:%'
                                        and (lower(q.email collate "C") = a.email or q.phone_number = a.phone_number)
)
select s.name,
       not exists (select from atsync.identity o where o.source = $1 and o.alias = s.name and o.ref = $3 and o.origin = 'operator')
       and (exists (select from atsync.identity o where o.source = $1 and o.alias = s.name and o.ref is distinct from $3)
            or exists (select from atsync.run o where o.source = $1 and s.name like 'r:%' and o.run_id = substr(s.name, 3) and o.ref like 'x:%'
                                                   and o.ref is distinct from $3)) as shared
from step s
where s.name is not null and not exists (select from known k where k.name = s.name)
order by s.name
