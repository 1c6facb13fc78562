-- After each migration whose statements cannot be in a transaction.
insert into atsync.schema_version (version, name, breaking) values (:version, :'name', :'breaking');
\endif
