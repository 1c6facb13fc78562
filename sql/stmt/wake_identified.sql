-- The safety net under record_identity: a candidate that began to wait while its identity was being committed is found here. $1: seconds since it began.
-- Whose row another session holds is found the next time.
update atsync.candidate q
set version = q.version + 1, due_at = now()
where q.ctid = any (array(
    select c.ctid
    from atsync.candidate c
    where c.connector = '' and c.state = 'waiting_for_identity' and c.error_class = 'identity' and c.lease_owner is null and c.due_at is null
      and c.blocked_since > now() - $1 * interval '1 second'
      and (exists (select from atsync.identity i where i.source = c.source and i.alias = c.ref)
           or (c.ref like 'r:%' and exists (select from atsync.run n where n.source = c.source and n.run_id = substr(c.ref, 3)
                                                                       and n.external_id is not null and n.ref like 'x:%')))
    for no key update of c skip locked))
