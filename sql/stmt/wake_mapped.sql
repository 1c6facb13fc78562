-- A daemon has started, perhaps with more workflows than the one before: candidates without a connector are looked at again where one of their runs has got a mapping.
-- $1: the workflows that have one; $2: all have, by the default. Whose row another session holds waits for its next event.
update atsync.candidate q
set due_at = case when q.lease_owner is null then least(q.due_at, now()) else q.due_at end, version = q.version + 1
where q.ctid = any (array(
    select c.ctid
    from atsync.candidate c
    where c.connector = '' and c.state = 'unmapped'
      and exists (select from atsync.run r where r.source = c.source and r.ref = c.ref and r.connector = ''
                                           and ($2 or r.workflow_external_id = any ($1)))
    for no key update of c skip locked))
