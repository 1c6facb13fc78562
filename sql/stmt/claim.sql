-- Leases due candidates of one connector that did not fail before, the longest due first. The lease shows as a due time in the future, so an expired one is simply due again.
-- plan: anew
with due as (
    select source, connector, ref, due_at
    from atsync.candidate
    where connector = $1 and due_at <= now() and least(attempts, 1) = 0
    order by due_at
    limit $4
    for update skip locked
)
update atsync.candidate c
set lease_no = c.lease_no + 1,
    lease_owner = $2,
    due_at = now() + $3 * interval '1 millisecond'
from due d
where c.source = d.source and c.connector = d.connector and c.ref = d.ref
returning c.source, c.connector, c.ref, c.external_id, c.version, c.lease_no, c.attempts::bigint, d.due_at, now()
