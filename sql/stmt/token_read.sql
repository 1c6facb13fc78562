-- What is stored of a connector's tokens.
select version, seed, sealed from atsync.connector_token where connector = $1
