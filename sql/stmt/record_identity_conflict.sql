-- One name that events give to two candidates: neither may have it until an operator says whose it is.
update atsync.identity i
set conflict = true
from (
    select n.source, n.alias
    from unnest($1::text[], $2::text[]) as u (source, alias)
    join atsync.identity n on n.source = u.source and n.alias = u.alias
    group by n.source, n.alias
    having count(*) > 1 and not bool_or(n.origin = 'operator')
) c
where i.source = c.source and i.alias = c.alias and not i.conflict
