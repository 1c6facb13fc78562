-- Stores a batch of events and makes their candidates due: one statement, one commit. Rows go in key order, so that two daemons cannot deadlock.
-- Events of erased people are left out. $13, $14: further names of some events.
with erased as materialized (
    select abs(u.place) as place, u.place < 0 as tells_more from unnest(atsync.erased($1, $2, $4, $6, $7, $8, $13::bigint[], $14::text[])) as u (place)
), input as (
    select i.*
    from unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[], $9::text[], $10::text[],
                $11::timestamptz[], $12::bytea[]) with ordinality
         as i (source, event_id, type, subject, connector, external_id, profile_id, run_id, workflow_id, workflow_external_id, event_time, body, place)
    where i.place <> all (array(select e.place from erased e))
), stored as (
    insert into atsync.event (source, event_id, type, subject, external_id, profile_id, run_id, workflow_id, workflow_external_id, event_time, body)
    select source, event_id, type, subject, external_id, profile_id, run_id, workflow_id, workflow_external_id, coalesce(event_time, now()), body
    from input
    order by source, event_id
    on conflict (source, event_id) do nothing
    returning source, event_id
), queued as (
    insert into atsync.candidate as c (source, connector, ref, external_id, workflow_external_id, due_at, version, last_event_at)
    select i.source, i.connector, i.subject, max(i.external_id), max(i.workflow_external_id), now(), count(*), max(coalesce(i.event_time, now()))
    from input i
    join stored s on s.source = i.source and s.event_id = i.event_id
    where i.connector is not null
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
select source, event_id, false as erased, false as tells_more from stored
union all
select ($1::text[])[e.place], ($2::text[])[e.place], true, e.tells_more from erased e
