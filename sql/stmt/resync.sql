-- $4: of whom something was received since then, under whatever name; the sender may tell of what happened long ago.
-- $10: the connector $2 is no more. What was not written there is given up, and its candidates are looked at where their workflows lead now; not who is in work at a daemon
-- that still has it.
-- Everything is worked out again for these candidates, a page of $9 in key order behind ($6, $7, $8); what the ATS holds already is not written again.
-- plan: anew
with page as materialized (
    select c.source, c.connector, c.ref
    from atsync.candidate c
    where ($1::text is null or c.external_id = $1)
      and ($2::text is null or c.connector in ($2, ''))
      and ($3::text is null or exists (select from atsync.run r where r.source = c.source and r.ref = c.ref and r.workflow_external_id = $3))
      and ($4::timestamptz is null
           or exists (select from atsync.event e where e.source = c.source and e.subject = c.ref and e.subject <> '' and e.received_at >= $4)
           or exists (select from atsync.identity i
                      join atsync.event e on e.source = i.source and e.subject = i.alias and e.subject <> ''
                      where i.source = c.source and i.ref = c.ref and e.received_at >= $4))
      and ($5::text is null or exists (select from atsync.ats_write w where w.source = c.source and w.connector = c.connector and w.ref = c.ref and w.live
                                       and w.state = 'dead' and w.error_class = $5))
      and ($6::text is null or (c.ref, c.source, c.connector) > ($8, $6, $7))
    order by c.ref, c.source, c.connector
    limit $9
), locked as materialized (
    select c.source, c.connector, c.ref
    from page p
    join atsync.candidate c on c.source = p.source and c.connector = p.connector and c.ref = p.ref
    order by c.source, c.connector, c.ref -- as whoever stores events does
    for no key update of c
), woken as (
    update atsync.candidate c
    set version = c.version + 1, attempts = 0, due_at = case when c.lease_owner is null then now() else c.due_at end
    from locked p
    where c.source = p.source and c.connector = p.connector and c.ref = p.ref and not ($10 and c.connector = $2)
), given_up as (
    update atsync.candidate c
    set attempts = 0, due_at = null, state = 'nothing_to_do', blocked_since = null, error_class = null, last_error = null, sending = null,
        lease_owner = null, lease_until = null, lease_no = c.lease_no + 1 -- what a daemon that lost it still has to say counts no more
    from locked p
    where $10 and c.source = p.source and c.connector = $2 and c.connector = p.connector and c.ref = p.ref
      and (c.lease_until is null or c.lease_until <= now())
    returning c.source, c.ref, c.external_id, c.workflow_external_id, c.last_event_at
), superseded as (
    update atsync.ats_write w
    set state = 'superseded', uncertain = w.uncertain or w.state = 'sending', next_attempt_at = null
    from given_up g
    where w.source = g.source and w.connector = $2 and w.ref = g.ref and w.live and w.state in ('pending', 'sending', 'dead')
), led_elsewhere as (
    insert into atsync.candidate (source, connector, ref, external_id, workflow_external_id, due_at, last_event_at)
    select g.source, '', g.ref, g.external_id, g.workflow_external_id, now(), g.last_event_at
    from given_up g
    on conflict (source, connector, ref) do nothing -- who has a row there fits, too, and is due
)
select p.source, p.connector, p.ref, (select count(*) from page) from page p order by p.ref desc, p.source desc, p.connector desc limit 1
