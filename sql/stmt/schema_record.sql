-- The version row comes first, in the transaction of its migration.
insert into atsync.schema_version (version, name, breaking) values ($1::bigint, $2, $3)
