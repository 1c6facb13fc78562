-- Stores a batch of events and makes their candidates due: one statement, one commit. The arrays are in the order of their keys, and rows are made in the
-- order of the arrays, so that two daemons cannot deadlock. $13: the caller has left out the events of erased people (ingest_erased); else
-- nothing is stored while there is one. Returns 'all' if every event was new, or a row 'new' for each that was, or 'ask' if nothing was done.
with guard as materialized (
    select $13 or not atsync.any_erased() as is_free
), stored as (
    insert into atsync.event (source, event_id, type, subject, external_id, profile_id, run_id, workflow_id, workflow_external_id, event_time, body)
    select i.source, i.event_id, i.type, i.subject, i.external_id, i.profile_id, i.run_id, i.workflow_id, i.workflow_external_id,
           coalesce(i.event_time, now()), i.body
    from (select unnest($1::text[]) as source, unnest($2::text[]) as event_id, unnest($3::text[]) as type, unnest($4::text[]) as subject,
                 unnest($6::text[]) as external_id, unnest($7::text[]) as profile_id, unnest($8::text[]) as run_id, unnest($9::text[]) as workflow_id,
                 unnest($10::text[]) as workflow_external_id, unnest($11::timestamptz[]) as event_time, unnest($12::bytea[]) as body) i
    where (select is_free from guard)
    on conflict (source, event_id) do nothing
    returning source, event_id
), found as materialized (
    select count(*) = cardinality($1) as are_all from stored
), queued as (
    insert into atsync.candidate as c (source, connector, ref, external_id, workflow_external_id, due_at, version, last_event_at)
    select i.source, i.connector, i.subject, max(i.external_id), max(i.workflow_external_id), now(), count(*), max(coalesce(i.event_time, now()))
    from (select unnest($1::text[]) as source, unnest($2::text[]) as event_id, unnest($4::text[]) as subject, unnest($5::text[]) as connector,
                 unnest($6::text[]) as external_id, unnest($10::text[]) as workflow_external_id, unnest($11::timestamptz[]) as event_time) i
    where i.connector is not null and ((select are_all from found) or (i.source, i.event_id) in (select source, event_id from stored))
    group by i.source, i.connector, i.subject
    order by i.source, i.connector, i.subject
    on conflict (source, connector, ref) do update
    set version = c.version + excluded.version,
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
