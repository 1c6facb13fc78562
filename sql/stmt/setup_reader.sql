-- What the reader $1 may not see yet, and the command for it; no row with a command: all is shown; no row at all: there is no such role.
with reader as (
    select oid, rolname from pg_roles where rolname = $1
)
select format('grant usage on schema atsync to %I', r.rolname) as command
from reader r
where not has_schema_privilege(r.oid, 'atsync', 'usage')
union all
select format('grant select on atsync.%I to %I', c.relname, r.rolname)
from reader r
join pg_class c on c.relnamespace = 'atsync'::regnamespace and c.relkind = 'v'
where not has_table_privilege(r.oid, c.oid, 'select')
union all
select null from reader
