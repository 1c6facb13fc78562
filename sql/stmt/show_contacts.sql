-- How a candidate was to be contacted, the newest first.
select row_to_json(q)::text
from (
    select r.kind, r.workflow_external_id, r.email, r.phone_number, r.event_time as at
    from (
        select distinct c.source, n.name
        from atsync.candidate c
        cross join lateral (
            select c.ref as name
            union
            select i.alias from atsync.identity i where i.source = c.source and i.ref = c.ref and not i.conflict
        ) n
        where c.external_id = $1
    ) k
    join atsync.contact_resolution r on r.source = k.source and r.ref = k.name
    where r.email is not null or r.phone_number is not null
    order by r.event_time desc
    limit 20
) q
