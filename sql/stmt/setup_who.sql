-- Who we are on a server where roles and a database are to be made, and what kind of server that is.
select current_user::text, r.rolsuper or (r.rolcreaterole and r.rolcreatedb) as may, current_setting('server_version_num')::int
from pg_roles r
where r.rolname = current_user
