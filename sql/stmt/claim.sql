-- Leases due candidates of one connector that did not fail before ($5 = 0) or did (1), the longest due first. $6: those due before were seen lately, and
-- are looked at again from time to time only: so the cost does not grow with what was done since somebody else's snapshot was taken. None while the connector is paused: who
-- claims may not have heard of it.
update atsync.candidate c
set lease_no = c.lease_no + 1,
    lease_owner = $2,
    lease_until = now() + $3 * interval '1 millisecond'
where c.ctid = any (array(
    select d.ctid
    from atsync.candidate d
    where (select s.state from atsync.connector_state s where s.connector = $1) is distinct from 'paused'
      and d.connector = $1 and d.due_at <= now() and d.due_at >= $6 and least(d.attempts, 1) = $5 and (d.lease_until is null or d.lease_until <= now())
    order by d.due_at
    limit $4
    for update skip locked))
returning c.source, c.connector, c.ref, c.external_id, c.version, c.lease_no, c.attempts::bigint, c.due_at, now(), c.sending
