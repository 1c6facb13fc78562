-- Tokens that are kept for connectors, and when they were got.
select row_to_json(t)::text
from (
    select k.connector, k.sealed is not null as is_kept, nullif(k.seed, '') is not null as has_first_token,
           extract(epoch from now() - k.renewed_at)::bigint as renewed_seconds
    from atsync.connector_token k
) t
order by t.connector
