-- A daemon that was killed and is back under the same name need not wait for its own leases to end.
update atsync.candidate
set lease_owner = null, lease_until = null
where lease_owner = $1 and due_at is not null
