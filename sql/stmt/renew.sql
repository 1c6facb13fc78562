-- Keeps the leases of candidates in work; only those that would end soon.
update atsync.candidate
set due_at = now() + $2 * interval '1 millisecond'
where lease_owner = $1 and due_at > now() and due_at < now() + $2 * interval '0.75 millisecond'
