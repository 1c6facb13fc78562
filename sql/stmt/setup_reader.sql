-- What the reader $1 may not see yet, and the command for it.
select format('grant usage on schema atsync to %I', $1::text) as command
where not has_schema_privilege($1, 'atsync', 'usage')
union all
select format('grant select on atsync.%I to %I', c.relname, $1)
from pg_class c
where c.relnamespace = 'atsync'::regnamespace and c.relkind = 'v' and not has_table_privilege($1, c.oid, 'select')
