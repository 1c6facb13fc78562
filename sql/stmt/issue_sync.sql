-- Makes the open issues equal to what is wrong now: opens, updates, closes. One daemon at a time.
-- What only one daemon sees (hold_ms) is not closed by another that does not see it, but when it was not told for so long.
with allowed as (
    select pg_try_advisory_xact_lock(hashtextextended('atsync.issues', 0)) as yes
), input as (
    select distinct on (i.class, i.scope) i.* -- a mapping may use one question twice
    from unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[], $9::bigint[],
                $10::bigint[])
         as i (class, scope, severity, source, connector, workflow, message, hint, affected, hold_ms)
    cross join allowed a
    where a.yes
    order by i.class, i.scope
), told as (
    insert into atsync.issue as t (class, scope, severity, source, connector, workflow_external_id, message, hint, affected_candidates,
                                   hold_until)
    select class, scope, severity, source, connector, workflow, message, hint, affected, now() + hold_ms * interval '1 millisecond' from input
    order by class, scope
    on conflict (class, scope) where closed_at is null do update
    set severity = excluded.severity, message = excluded.message, hint = excluded.hint, affected_candidates = excluded.affected_candidates, last_seen = now(),
        hold_until = greatest(t.hold_until, excluded.hold_until)
    returning t.class, t.scope, t.connector, t.message, t.hint, (xmax = 0) as opened
), closed as (
    update atsync.issue t
    set closed_at = now()
    from allowed a
    where a.yes and t.closed_at is null and t.class = any ($11::text[]) and (t.hold_until is null or t.hold_until < now())
      and not exists (select from input i where i.class = t.class and i.scope = t.scope)
    returning t.class, t.scope, t.connector, t.message, t.hint
)
select 'opened' as what, class, connector, message, hint from told where opened
union all
select 'closed', class, connector, message, hint from closed
