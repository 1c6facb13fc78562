-- An operator says who stands behind a name; that ends a conflict, and what waited is looked at again.
with sender as (
    insert into atsync.source (source) values ($1) on conflict (source) do nothing
), given as (
    insert into atsync.identity (source, alias, ref, external_id, origin)
    values ($1, $2, $3, $4, 'operator')
    on conflict (source, alias, ref) do update set origin = 'operator', conflict = false, external_id = excluded.external_id
    returning source, alias, ref
), others as (
    update atsync.identity i
    set conflict = true, origin = 'event'
    from given g
    where i.source = g.source and i.alias = g.alias and i.ref <> g.ref
), woken as (
    update atsync.candidate c
    set version = c.version + 1, due_at = case when c.lease_owner is null then now() else c.due_at end
    from given g
    where c.source = g.source and c.connector = '' and c.ref = g.alias
    returning c.ref
)
select count(*) from woken
