-- When each of these senders ($1) sent last, how many events it sent in the same hours of the weeks before as those in which it has been silent, and how far
-- its clock is from the database's. last_at null: nothing for 8 days; is_known: but ever.
-- plan: anew
select row_to_json(t)::text
from (
    select s.source, l.is_known, l.last_at, extract(epoch from now() - l.last_at)::bigint as silent_seconds,
           (select json_agg(json_build_object('events', w.events, 'known', w.known) order by w.week)
            from (
                select k as week,
                       (select count(*)
                        from (select from atsync.event e
                              where e.source = s.source and e.received_at > p.from_at - k * interval '7 days' and e.received_at <= p.to_at - k * interval '7 days'
                              limit 10000) counted) as events,
                       -- a week before the first event is no quiet one
                       exists (select from atsync.event e
                               where e.source = s.source and e.received_at > p.from_at - (k + 1) * interval '7 days' and e.received_at <= p.from_at - k * interval '7 days') as known
                from (select greatest(l.last_at, now() - interval '7 days') as from_at, now() as to_at) p
                cross join generate_series(1, 4) as k
            ) w) as weeks,
           c.events as clock_events, c.least_ms as clock_least_ms
    from unnest($1::text[]) as s (source)
    cross join lateral (
        select o.is_known,
               case when o.is_known then
                   coalesce((select max(e.received_at) from atsync.event e where e.source = s.source and e.received_at > now() - interval '1 hour'),
                            (select max(e.received_at) from atsync.event e where e.source = s.source and e.received_at > now() - interval '1 day'),
                            (select max(e.received_at) from atsync.event e where e.source = s.source and e.received_at > now() - interval '8 days')) end as last_at
        from (select exists (select from atsync.source k where k.source = s.source) as is_known) o
        offset 0 -- once, not once for each event that is compared with it
    ) l
    left join lateral (
        select count(*) as events, (extract(epoch from min(e.received_at - e.event_time)) * 1000)::bigint as least_ms
        from atsync.event e
        where e.source = s.source and e.received_at > l.last_at - interval '1 hour' and e.received_at <= l.last_at
    ) c on true
) t
order by t.source
