-- breaking: yes. Tokens that an ATS gave us, sealed, and the lease under which one daemon of all renews them.
create table atsync.connector_token (
    connector text primary key,
    version bigint not null default 0,
    seed text,
    sealed text,
    renewed_at timestamptz,
    lease_owner text,
    lease_until timestamptz
) with (fillfactor = 50);
comment on table atsync.connector_token is 'What signing in at an ATS gave, encrypted with database.encryption_key. Newer versions replace older ones.';
