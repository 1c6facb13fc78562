-- Learns other names of candidates, and wakes what waits under them.
with learned as (
    insert into atsync.identity (source, alias, ref, external_id, origin)
    select i.source, i.alias, i.ref, i.external_id, 'event'
    from (select distinct * from unnest($1::text[], $2::text[], $3::text[], $4::text[]) as u (source, alias, ref, external_id)) i
    order by i.source, i.alias, i.ref
    on conflict (source, alias, ref) do nothing
    returning source, alias
), woken as (
    update atsync.candidate q
    set version = q.version + 1, due_at = case when q.lease_owner is null then now() else q.due_at end
    from learned l
    where q.source = l.source and q.connector = '' and q.ref = l.alias
)
select count(*) from learned
