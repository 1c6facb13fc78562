-- Everything that is wrong now and has lasted long enough to be told. $1, $2: workflow and slug pairs of the mapping.
-- What does not fit the ATS (a stage, a field, a tag) is a problem of its own each, so that none hides behind another: there are as many as the mapping has.
-- Of a class there are 500 at most: workflows and profiles can be invented by whoever has the signing secret.
-- plan: anew
select r.class, r.source, r.connector, r.workflow, r.detail, r.sample, r.affected, r.kind, r.what, r.hint
from (
    select q.*, row_number() over (partition by q.class order by q.source, q.connector, q.workflow collate "C", q.detail collate "C", q.kind, q.what) as place
    from (
        select 'dead_writes' as class, d.source, d.connector, d.workflow_external_id as workflow, d.error_class as detail,
               max(d.error) as sample, count(distinct d.ref) as affected, d.kind, d.what, null as hint
        from (
            select w.source, w.connector, w.workflow_external_id, w.ref, w.error, coalesce(w.error_class, 'invalid') as error_class,
                   case when w.error_class = 'configuration' then w.kind end as kind,
                   case when w.error_class <> 'configuration' then null
                        when w.kind in ('stage', 'reject') then w.value
                        when w.kind in ('field', 'tag') then w.target end as what
            from atsync.ats_write w
            where w.live and w.state = 'dead'
        ) d
        group by d.source, d.connector, d.workflow_external_id, d.error_class, d.kind, d.what
        union all
        select 'unmapped', c.source, null, r.workflow_external_id, null, null, count(distinct c.ref), null, null, null
        from atsync.candidate c
        join atsync.run r on r.source = c.source and r.ref = c.ref and r.connector = ''
        where c.connector = '' and c.state = 'unmapped'
        group by c.source, r.workflow_external_id
        union all
        select 'identity', c.source, null, null, null, null, count(*), null, null, null
        from atsync.candidate c
        where c.connector = '' and c.state = 'waiting_for_identity' and c.error_class = 'identity'
        group by c.source
        union all
        select 'identity_conflict', i.source, null, null, i.alias, null, count(*), null, null, null
        from atsync.identity i
        where i.conflict and not exists (select from atsync.identity o where o.source = i.source and o.alias = i.alias and o.origin = 'operator')
        group by i.source, i.alias
        union all
        select case when r.conflict then 'run_conflict' else 'truncated' end, r.source, null, r.workflow_external_id, null, null, count(distinct r.ref), null, null, null
        from atsync.run r
        where (r.truncated and not r.complete and r.outcome is not null) or r.conflict
        group by r.source, r.workflow_external_id, r.conflict
        union all
        -- they wait for their next attempt, so they are among those that failed before: by connector, not all that are due
        select 'too_large', c.source, null, null, null, max(c.last_error), count(distinct c.ref), null, null, null
        from (select s.connector from atsync.connector_state s union all select '') k
        join atsync.candidate c on c.connector = k.connector and least(c.attempts, 1) = 1 and c.due_at is not null
        where c.error_class = 'too_large'
        group by c.source
        union all
        select case when s.paused_by_operator then 'connector_held' else 'connector_paused' end, null, s.connector, null, null, s.reason,
               (select count(*) from atsync.candidate c where c.connector = s.connector and c.due_at is not null), null, null, s.hint
        from atsync.connector_state s
        where s.state = 'paused'
        union all
        select 'throttled', null, s.connector, null, null, s.reason,
               (select count(*) from atsync.candidate c where c.connector = s.connector and c.due_at is not null), null, null, null
        from atsync.connector_state s
        where s.state = 'throttled' and s.since < now() - interval '1 hour' and s.until > now() - interval '10 minutes'
        union all
        select 'ats_away', null, w.connector, null, null, max(w.error), count(distinct (w.source, w.ref)), null, null, null
        from atsync.ats_write w
        where w.live and w.state = 'pending' and w.error_class in ('unavailable', 'uncertain', 'bad_answer') and w.first_tried_at < now() - interval '10 minutes'
              and not exists (select from atsync.ats_call a where a.at > now() - interval '10 minutes' and a.connector = w.connector
                              and a.outcome in ('ok', 'already'))
        group by w.connector
        union all
        select 'source_api', a.source, null, null, a.problem, a.error,
               (select count(distinct r.ref) from atsync.run r where r.source = a.source and r.truncated and not r.complete and r.outcome is not null),
               null, null, null
        from atsync.source_api a
        where a.problem is not null and (a.problem <> 'unavailable' or a.failures >= 3) and a.seen_at > now() - interval '10 minutes'
        union all
        select 'unseen_slug', v.source, null, m.workflow, m.slug, null, 0, null, null, null
        from unnest($1::text[], $2::text[]) as m (workflow, slug)
        join lateral (
            select p.source, p.workflow_version_id
            from atsync.workflow_version p
            where p.workflow_external_id = m.workflow
            order by p.published_at desc nulls last, p.event_time desc
            limit 1
        ) v on true
        join lateral (
            select count(*) as runs, count(*) filter (where jsonb_path_exists(n.nodes::jsonb, '$[*].outcome.answers[*] ? (@.slug == $slug)',
                                                                              jsonb_build_object('slug', m.slug))) as with_slug
            from (
                select r.nodes
                from atsync.run r
                where r.source = v.source and r.workflow_external_id = m.workflow and r.workflow_version_id = v.workflow_version_id and r.state = 'completed'
                order by r.last_event_at desc
                limit 50
            ) n
        ) k on k.runs >= 5 and k.with_slug = 0
    ) q
) r
where r.place <= 500
