-- Candidates whose events were too many to be read are looked at again: what may be read has changed.
update atsync.candidate
set due_at = now()
where blocked_since is not null and error_class = 'too_large' and due_at > now() and lease_owner is null
