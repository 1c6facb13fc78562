-- The right to renew a connector's tokens, for one daemon at a time. Returns what is stored, and whether the right is ours.
with claimed as (
    insert into atsync.connector_token as t (connector, lease_owner, lease_until)
    values ($1, $2, clock_timestamp() + $3 * interval '1 millisecond')
    on conflict (connector) do update
    set lease_owner = excluded.lease_owner, lease_until = excluded.lease_until
    where t.lease_until is null or t.lease_until < clock_timestamp() or t.lease_owner = excluded.lease_owner
    returning t.version, t.seed, t.sealed
)
select version, seed, sealed, true from claimed
union all
select version, seed, sealed, false from atsync.connector_token where connector = $1 and not exists (select from claimed)
