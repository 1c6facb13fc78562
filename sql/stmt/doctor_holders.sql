-- Who keeps dead rows of this database from being cleaned up, the oldest first; and slots that keep old files. Times of other roles' sessions are null
-- for who is no member of pg_read_all_stats.
select row_to_json(t)::text
from (
    select case when a.backend_type = 'walsender' then 'standby' else 'session' end as kind, a.pid::text as name, a.usename::text as role,
           nullif(a.application_name, '') as application, a.state, extract(epoch from clock_timestamp() - a.xact_start)::bigint as seconds,
           greatest(age(a.backend_xmin), age(a.backend_xid))::bigint as transactions, null::bigint as kept_bytes, true as active
    from pg_stat_activity a
    where (a.backend_xmin is not null or a.backend_xid is not null) and a.pid <> pg_backend_pid()
          and a.backend_type is distinct from 'autovacuum worker' and (a.datname = current_database() or a.datname is null)
    union all
    select 'prepared transaction', p.gid, p.owner::text, null, null, extract(epoch from clock_timestamp() - p.prepared)::bigint,
           age(p.transaction)::bigint, null, true
    from pg_prepared_xacts p
    where p.database = current_database()
    union all
    select 'replication slot', s.slot_name::text, null, s.plugin::text, null, null, age(s.xmin)::bigint,
           case when s.restart_lsn is not null then pg_wal_lsn_diff(pg_current_wal_lsn(), s.restart_lsn)::bigint end, s.active
    from pg_replication_slots s
) t
order by t.transactions desc nulls last, t.name
