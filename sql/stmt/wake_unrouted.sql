-- Candidates without a connector are looked at again: the mapping or the names of workflows have changed.
update atsync.candidate
set due_at = least(due_at, now()), version = version + 1
where connector = '' and lease_owner is null
