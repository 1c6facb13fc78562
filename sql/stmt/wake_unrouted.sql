-- Candidates without a connector are looked at again: the mapping or the names of workflows have changed. One that is being looked at now is looked at once more.
update atsync.candidate
set due_at = case when lease_owner is null then least(due_at, now()) else due_at end, version = version + 1
where connector = ''
