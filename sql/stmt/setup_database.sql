-- What the role $1 lacks in this database, and the command for it: the right to make the schema; and a schema that somebody else has made.
select 'privileges' as thing, format('database %s', current_database()) as name, format('grant connect, create, temporary on database %I to %I', current_database(), $1::text) as command
where not (has_database_privilege($1, current_database(), 'connect') and has_database_privilege($1, current_database(), 'create')
           and has_database_privilege($1, current_database(), 'temporary'))
union all
select 'owner', 'schema ' || n.nspname, format('alter schema %I owner to %I', n.nspname, $1)
from pg_namespace n
where n.nspname = 'atsync' and pg_get_userbyid(n.nspowner) <> $1
union all
select 'owner', case c.relkind when 'v' then 'view ' else 'table ' end || c.relname, format('alter table atsync.%I owner to %I', c.relname, $1)
from pg_class c
join pg_namespace n on n.oid = c.relnamespace
where n.nspname = 'atsync' and c.relkind in ('r', 'p', 'v', 'm') and pg_get_userbyid(c.relowner) <> $1
union all
select 'owner', 'function ' || p.proname, format('alter function %s owner to %I', p.oid::regprocedure, $1)
from pg_proc p
join pg_namespace n on n.oid = p.pronamespace
where n.nspname = 'atsync' and pg_get_userbyid(p.proowner) <> $1
