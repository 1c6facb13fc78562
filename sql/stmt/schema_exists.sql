-- Is there a schema of ours at all?
select to_regclass('atsync.schema_version') is not null
