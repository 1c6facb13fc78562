-- What all daemons share about the connectors.
select connector, state, config_hash, coalesce(extract(epoch from until - now()) * 1000, 0)::bigint, paused_by_operator from atsync.connector_state
