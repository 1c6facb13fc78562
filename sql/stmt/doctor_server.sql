-- What there is to know of the server and this database. What only some roles may see is null.
select row_to_json(t)::text
from (
    select current_setting('server_version_num')::int as version, pg_encoding_to_char(d.encoding) as encoding,
           current_setting('autovacuum')::boolean as autovacuum, current_setting('track_counts')::boolean as track_counts,
           current_setting('fsync')::boolean as fsync, current_setting('full_page_writes')::boolean as full_page_writes,
           current_setting('synchronous_commit') as synchronous_commit,
           current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int as connections_max,
           (select count(*) from pg_stat_activity a where a.datid is not null and coalesce(a.backend_type, 'client backend') = 'client backend') as connections,
           pg_database_size(d.oid) as database_bytes, age(d.datfrozenxid) as transaction_age,
           pg_has_role(current_user, 'pg_read_all_stats', 'usage') as sees_sessions,
           case when pg_has_role(current_user, 'pg_read_all_settings', 'usage') then current_setting('data_directory') end as data_directory,
           pg_backend_pid() as pid, inet_server_addr() is null or inet_server_addr() = inet_client_addr() as is_local, current_user::text as role
    from pg_database d
    where d.datname = current_database()
) t
