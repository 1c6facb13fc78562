-- The safety net under record_identity: a candidate that began to wait while its identity was being committed is found here.
update atsync.candidate q
set version = q.version + 1, due_at = now()
from atsync.identity i
where q.connector = '' and q.state = 'waiting_for_identity' and q.lease_owner is null and q.due_at is null
  and i.source = q.source and i.alias = q.ref and not i.conflict
