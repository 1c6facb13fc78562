-- A daemon that was killed and is back under the same name need not wait for its own leases to end. Of a row that another session holds it does.
update atsync.candidate
set lease_owner = null, lease_until = null
where ctid = any (array(
    select c.ctid from atsync.candidate c where c.lease_owner = $1 and c.due_at is not null for no key update skip locked))
