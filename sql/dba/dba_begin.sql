-- The beginning of what atsyncctl setup --print gives: psql's variables role, reader and database are set before it.
/* Roles: the daemon's own, and one that may read the views and that you grant to people and dashboards. */
select format('create role %I login', :'role') where not exists (select from pg_roles where rolname = :'role') \gexec
select format('create role %I nologin', :'reader') where not exists (select from pg_roles where rolname = :'reader') \gexec

/* The database. Keys sorted by bytes need no index made anew when the system's locales change. */
select format('create database %I owner %I encoding ''UTF8'' lc_collate ''C'' lc_ctype ''C'' template template0', :'database', :'role')
where not exists (select from pg_database where datname = :'database') \gexec

\connect :"database"
select format('grant connect, create, temporary on database %I to %I', current_database(), :'role') \gexec

/* The schema, as its owner. A migration that is there already is passed over. */
set role :"role";
create schema if not exists atsync;
create table if not exists atsync.schema_version (
    version integer primary key, name text not null, breaking boolean not null, applied_at timestamptz not null default now());
