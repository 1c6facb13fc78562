-- Which migrations the database has; the table is there when this is called.
select version::bigint, name, breaking from atsync.schema_version order by version
