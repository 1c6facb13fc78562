-- Takes runs of a source that are to be asked for at its API, so that no other daemon asks for them as well: those that ended with nodes missing
-- for $3 ms, and those that have been silent for $2 ms without an end. None of them is taken again before $4 ms have passed.
-- plan: anew
with cut as (
    select r.source, r.run_id
    from atsync.run r
    where r.source = $1 and r.truncated and not r.complete and r.outcome is not null
          and coalesce(r.ask_at, r.last_event_at + $3 * interval '1 millisecond') <= now()
    order by r.last_event_at desc
    limit $5
    for update skip locked
), again as (
    select r.source, r.run_id
    from atsync.run r
    where r.source = $1 and r.state = 'running' and r.ask_at <= now()
          and r.last_event_at between now() - interval '30 days' and now() - $2 * interval '1 millisecond'
    order by r.ask_at
    limit $5
    for update skip locked
), silent as (
    select r.source, r.run_id
    from atsync.run r
    where r.source = $1 and r.state = 'running' and r.ask_at is null
          and r.last_event_at between now() - interval '30 days' and now() - $2 * interval '1 millisecond'
    order by r.last_event_at desc
    limit $5
    for update skip locked
), due as (
    select source, run_id from cut union all select source, run_id from again union all select source, run_id from silent
    limit $5
)
update atsync.run r
set asked = r.asked + 1, ask_at = now() + $4 * interval '1 millisecond'
from due d
where r.source = d.source and r.run_id = d.run_id
returning r.run_id, r.ref, r.workflow_id, r.asked::bigint, r.state <> 'running', now()
