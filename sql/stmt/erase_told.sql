-- Issues that name the person, or quote what the ATS answered about this person and nobody else: what is still wrong is told again by itself. Likewise the
-- reason of a connector, and the last answer of the sender's API.
-- plan: anew
with name as materialized (
    select regexp_replace(substr(u.name, 3), '([^[:alnum:]])', E'\\\\\\1', 'g') as pattern, substr(u.name, 3) as text
    from unnest($2::text[]) as u (name)
    where length(u.name) > 2
), quoted as materialized (
    select rtrim(s.error, '. ') as text
    from (
        select w.error
        from atsync.ats_write w
        where w.source = $1 and w.ref = any ($2)
        union
        select a.error from atsync.ats_call a where a.source = $1 and a.ref = any ($2)
        union
        select c.last_error
        from atsync.candidate c
        where c.source = $1 and c.ref = any ($2)
    ) s
    where s.error <> ''
      and not exists (select from atsync.ats_write o
                      where o.live and o.state in ('pending', 'sending', 'dead') and o.error = s.error and not (o.source = $1 and o.ref = any ($2)))
), issues as (
    delete from atsync.issue i
    using (
        select distinct j.id
        from atsync.issue j
        where exists (select from name n
                      where position(n.text in concat_ws(' ', j.message, j.hint, j.scope)) > 0 -- a number of candidates is not one of them
                            and concat_ws(' ', j.message, j.hint, j.scope) ~ ('(^|[^[:alnum:]])' || n.pattern || '($|[^[:alnum:]])(?!candidate)'))
           or exists (select from quoted q where q.text <> '' and position(q.text in j.message) > 0)
    ) f
    where i.id = f.id
    returning 1
), connectors as (
    update atsync.connector_state s
    set reason = '(told about somebody who was erased)', hint = null
    where exists (select from quoted q where q.text <> '' and position(q.text in concat_ws(' ', s.reason, s.hint)) > 0)
       or exists (select from name n where position(n.text in concat_ws(' ', s.reason, s.hint)) > 0
                                           and concat_ws(' ', s.reason, s.hint) ~ ('(^|[^[:alnum:]])' || n.pattern || '($|[^[:alnum:]])'))
), sources as (
    update atsync.source_api a
    set error = null
    where exists (select from name n where position(n.text in a.error) > 0 and a.error ~ ('(^|[^[:alnum:]])' || n.pattern || '($|[^[:alnum:]])'))
)
select count(*) from issues
