-- The end of what atsyncctl setup --print gives.

/* What the reader may see, also where the schema is older than that role. */
grant usage on schema atsync to :"reader";
select format('grant select on atsync.%I to %I', viewname, :'reader') from pg_views where schemaname = 'atsync' \gexec
reset role;
