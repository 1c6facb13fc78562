-- Every configured connector has a row, so that the views show it from the start. Returns those whose mapping or settings are not what they were; they are what they were
-- until connector_adopt says otherwise.
with fresh as (
    insert into atsync.connector_state (connector, mapping_hash)
    select u.connector, u.hash from unnest($1::text[], $2::text[]) as u (connector, hash) order by u.connector
    on conflict (connector) do nothing
), nameless as (
    update atsync.connector_state c
    set mapping_hash = u.hash
    from unnest($1::text[], $2::text[]) as u (connector, hash)
    where c.connector = u.connector and c.mapping_hash is null
)
select u.connector, u.hash, now()
from unnest($1::text[], $2::text[]) as u (connector, hash)
join atsync.connector_state c on c.connector = u.connector
where c.mapping_hash <> u.hash
