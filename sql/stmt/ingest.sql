-- Stores a batch of events and makes their candidates due: one statement, one commit. $1 to $11: the events, in the order of their keys; $12 to $17: their
-- candidates, likewise, so that two daemons cannot deadlock. $18: the caller has left out the events of erased people (ingest_erased); else
-- nothing is stored where there may be one. Whoever erases holds the lock until the end of that transaction, in which
-- the table of their names gets its first page; its size is asked with the lock in hand, and is no matter of what this statement's snapshot sees.
-- From there on nothing is waited for longer than 3 seconds: a row that somebody holds must not keep all others waiting (store/held.c).
-- Returns 'all' if every event was new, or a row 'new' for each that was, or 'ask' if nothing was done.
with guard as materialized (
    select g.is_free, set_config('lock_timeout', '3s', true)
    from (select $18 or coalesce(case when pg_advisory_xact_lock_shared(hashtextextended('atsync.erase', 0)) is not null
                                      then pg_relation_size('atsync.tombstone') = 0 end, false) as is_free offset 0) g
), stored as (
    insert into atsync.event (source, event_id, type, subject, external_id, profile_id, run_id, workflow_id, workflow_external_id, event_time, body)
    select i.source, i.event_id, i.type, i.subject, i.external_id, i.profile_id, i.run_id, i.workflow_id, i.workflow_external_id,
           coalesce(i.event_time, now()), i.body
    from (select unnest($1::text[]) as source, unnest($2::text[]) as event_id, unnest($3::text[]) as type, unnest($4::text[]) as subject,
                 unnest($5::text[]) as external_id, unnest($6::text[]) as profile_id, unnest($7::text[]) as run_id, unnest($8::text[]) as workflow_id,
                 unnest($9::text[]) as workflow_external_id, unnest($10::timestamptz[]) as event_time, unnest($11::bytea[]) as body) i
    where (select is_free from guard)
    on conflict (source, event_id) do nothing
    returning source, event_id, subject
), found as materialized (
    select exists (select from stored offset greatest(cardinality($1) - 1, 0)) as are_all -- without counting
), queued as (
    insert into atsync.candidate as c (source, connector, ref, external_id, workflow_external_id, due_at, last_event_at)
    select g.source, g.connector, g.ref, g.external_id, g.workflow_external_id, now(), coalesce(g.last_event_at, now())
    from (select unnest($12::text[]) as source, unnest($13::text[]) as connector, unnest($14::text[]) as ref, unnest($15::text[]) as external_id,
                 unnest($16::text[]) as workflow_external_id, unnest($17::timestamptz[]) as last_event_at) g
    where (select are_all from found) or (g.source, g.ref) in (select source, subject from stored)
    on conflict (source, connector, ref) do update
    set version = c.version + 1,
        external_id = coalesce(excluded.external_id, c.external_id),
        workflow_external_id = coalesce(excluded.workflow_external_id, c.workflow_external_id),
        last_event_at = greatest(c.last_event_at, excluded.last_event_at),
        -- one that waits for its next attempt keeps collecting; one in work was due before, and is looked at again when it is released
        due_at = case when c.attempts > 0 then coalesce(c.due_at, excluded.due_at) else least(c.due_at, excluded.due_at) end
)
select 'all', null, null from found where are_all
union all
select 'new', s.source, s.event_id from stored s where not (select are_all from found)
union all
select 'ask', null, null from guard where not is_free
