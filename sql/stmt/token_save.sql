-- Replaces the tokens of the version that they were made from, whoever has the lease: a rotated token is worth more than it. Repeating it is harmless.
update atsync.connector_token
set version = $2 + 1, seed = $3, sealed = $4, renewed_at = now(),
    lease_owner = case when $5 then null else lease_owner end, lease_until = case when $5 then null else lease_until end
where connector = $1 and (version = $2 or (version = $2 + 1 and sealed = $4))
returning version
