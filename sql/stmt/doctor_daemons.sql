-- Daemons that said within the last minute that they live, and whether anybody waits for one.
select row_to_json(t)::text
from (
    select (select coalesce(json_agg(json_build_object('owner', d.owner, 'version', d.version, 'seen_seconds', extract(epoch from now() - d.seen_at)::bigint) order by d.owner), '[]')
            from atsync.daemon d
            where d.seen_at > now() - interval '1 minute') as daemons,
           exists (select from atsync.candidate c where c.due_at <= now()) as anybody_due,
           (select extract(epoch from now() - min(c.due_at))::bigint from atsync.candidate c where c.due_at <= now() and c.lease_owner is null) as oldest_due_seconds
) t
