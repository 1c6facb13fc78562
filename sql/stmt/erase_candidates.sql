-- Locks the person's places in the queue, in the order in which others lock them: results of calls that are under way find no place any more. Tells who works
-- on which, and for how many seconds that may last.
-- plan: anew
select c.connector, c.ref, c.lease_owner, greatest(extract(epoch from c.lease_until - now()), 0)::bigint
from (
    select q.ctid as tid
    from atsync.candidate q
    where q.source = $1 and q.ref = any ($2::text[])
) f
join atsync.candidate c on c.ctid = f.tid
order by c.source, c.connector, c.ref
for update of c
