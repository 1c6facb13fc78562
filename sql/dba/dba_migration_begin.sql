-- Before each migration: psql's variables version, name and breaking are set before it.
select not exists (select from atsync.schema_version where version = :version) as missing \gset
\if :missing
begin;
insert into atsync.schema_version (version, name, breaking) values (:version, :'name', :'breaking');
