-- Who holds leases under this instance's name.
select distinct lease_owner from atsync.candidate where due_at is not null and lease_owner is not null and split_part(lease_owner, '@', 1) = $1
