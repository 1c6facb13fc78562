-- The safety net under record_identity: a candidate that began to wait while its identity was being committed is found here. $1: seconds since it began.
update atsync.candidate q
set version = q.version + 1, due_at = now()
where q.connector = '' and q.state = 'waiting_for_identity' and q.error_class = 'identity' and q.lease_owner is null and q.due_at is null
  and q.blocked_since > now() - $1 * interval '1 second'
  and (exists (select from atsync.identity i where i.source = q.source and i.alias = q.ref)
       or (q.ref like 'r:%' and exists (select from atsync.run n where n.source = q.source and n.run_id = substr(q.ref, 3)
                                                                   and n.external_id is not null and n.ref like 'x:%')))
