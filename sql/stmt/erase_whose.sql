-- Whose name $2 is: the references with an external id that stand behind it, the operator's word first.
-- plan: anew
select i.ref, i.external_id
from atsync.identity i
where i.source = $1 and i.alias = $2
  and (i.origin = 'operator' or not exists (select from atsync.identity o where o.source = $1 and o.alias = $2 and o.origin = 'operator'))
union
select r.ref, r.external_id
from atsync.run r
where r.source = $1 and $2 like 'r:%' and r.run_id = substr($2, 3) and r.ref like 'x:%' and r.external_id is not null
order by 1
