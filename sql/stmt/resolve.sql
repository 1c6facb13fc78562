-- What the references without an external id stand for: an operator's word decides, else what events said. More than one answer is a conflict; two of them
-- show it, however many there are.
select c.idx, r.ref, r.external_id
from unnest($1::text[], $2::text[]) with ordinality as c (source, ref, idx)
join lateral (
    select i.ref, i.external_id
    from atsync.identity i
    where i.source = c.source and i.alias = c.ref
      and (i.origin = 'operator' or not exists (select from atsync.identity o where o.source = c.source and o.alias = c.ref and o.origin = 'operator'))
    union
    select n.ref, n.external_id from atsync.run n
    where n.source = c.source and c.ref like 'r:%' and n.run_id = substr(c.ref, 3) and n.external_id is not null and n.ref like 'x:%'
      and not exists (select from atsync.identity o where o.source = c.source and o.alias = c.ref)
    limit 2
) r on true
where c.ref not like 'x:%'
order by c.idx
