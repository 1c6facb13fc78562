-- Before each migration whose statements cannot be in a transaction: psql's variables version, name and breaking are set before it.
select not exists (select from atsync.schema_version where version = :version) as missing \gset
\if :missing
