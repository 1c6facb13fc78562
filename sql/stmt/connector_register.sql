-- Every configured connector has a row, so that the views show it from the start. Returns those whose mapping or settings are not what they were.
with before as (
    select connector, mapping_hash from atsync.connector_state
), kept as (
    insert into atsync.connector_state as c (connector, mapping_hash)
    select u.connector, u.hash from unnest($1::text[], $2::text[]) as u (connector, hash) order by u.connector
    on conflict (connector) do update set mapping_hash = excluded.mapping_hash where c.mapping_hash is distinct from excluded.mapping_hash
    returning connector
)
select k.connector from kept k join before b on b.connector = k.connector where b.mapping_hash is not null
