-- breaking: yes. The first schema: events, the queue of candidates, the ledger of writes, and what people look at.

-- Names and keys are compared as bytes (collate "C"): quicker than by a language's rules, and the same in every database.
-- What tells rows apart comes first in each key, and the source last: it is the same for most of them, and would be compared in vain at each step of each search.
-- Whatever is looked for by its key is looked for by all of it, or by the candidate.

-- Senders that anything was stored of: asking the tables below would take an index of its own.
create table atsync.source (
    source text collate "C" primary key,
    known_since timestamptz not null default now()
);

-- What was received. Append-only until it is over age, when the body becomes null; the body is kept as bytes, because it may hold what jsonb and text refuse (\u0000, lone surrogates).
create table atsync.event (
    source text collate "C" not null,
    event_id text collate "C" not null,
    type text not null,
    subject text collate "C" not null,
    external_id text collate "C",
    profile_id text collate "C",
    run_id text collate "C",
    workflow_id text collate "C",
    workflow_external_id text collate "C",
    event_time timestamptz not null,
    received_at timestamptz not null default clock_timestamp(),
    body bytea,
    primary key (event_id, source)
) with (autovacuum_vacuum_insert_threshold = 50000, autovacuum_vacuum_insert_scale_factor = 0);
-- The index by time knows only what has been vacuumed; what came since is read in full by who asks for the last minute. Hence the threshold above: by default
-- a table of ten million rows is vacuumed after two million new ones.
create index event_subject on atsync.event (subject, source) where subject <> '';
create index event_received on atsync.event using brin (received_at) with (pages_per_range = 32);
-- For retention: the oldest bodies, and the oldest ids without one. BRIN would not do, since old and new rows share pages once space is used again.
create index event_bodies on atsync.event (received_at) where body is not null;
create index event_ids on atsync.event (received_at) where body is null;
-- Events of other families, which are kept under nobody's name: erasing a person looks through them.
create index event_nobody on atsync.event (source, event_id) where subject = '' and body is not null;

-- The queue: one row per candidate reference and connector ('' while no connector is known for it).
create table atsync.candidate (
    source text collate "C" not null,
    connector text collate "C" not null,
    ref text collate "C" not null,
    external_id text collate "C",
    workflow_external_id text collate "C",
    state text not null default 'pending',
    due_at timestamptz,
    version bigint not null default 1,
    synced_version bigint not null default 0,
    planned_version bigint not null default 0,
    attempts integer not null default 0,
    lease_no bigint not null default 0,
    lease_owner text collate "C",
    lease_until timestamptz,
    sending text,
    last_event_at timestamptz not null,
    last_synced_at timestamptz,
    blocked_since timestamptz,
    tried_again_at timestamptz,
    last_error text,
    error_class text,
    primary key (ref, source, connector)
) with (fillfactor = 25, autovacuum_vacuum_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.05);
-- Three quarters of a page are left for the versions of its rows while they are in work: with the list of what is being sent a row takes twice its room.
-- Being leased is in no index, so that claiming writes the row and nothing else (a HOT update); those in work are few, and are passed over.
-- First attempts (0) and retries (1) are claimed apart, so that neither crowd can starve the other.
create index candidate_due on atsync.candidate (connector, least(attempts, 1), due_at) where due_at is not null;
create index candidate_unrouted on atsync.candidate (source, state) where connector = '';
create index candidate_external on atsync.candidate (external_id);
create index candidate_blocked on atsync.candidate (blocked_since) where blocked_since is not null;

-- Who is who: another name of a candidate (p:<profile id>, r:<run id>, c:<contact>) and the reference that it stands for.
create table atsync.identity (
    source text collate "C" not null,
    alias text collate "C" not null,
    ref text collate "C" not null,
    external_id text collate "C" not null,
    origin text not null check (origin in ('event', 'operator')),
    conflict boolean not null default false,
    learned_at timestamptz not null default now(),
    primary key (alias, source, ref)
);
create index identity_ref on atsync.identity (ref, source);
create index identity_conflict on atsync.identity (source, alias) where conflict;

-- Which external id a workflow has, as told by any event that carried both.
create table atsync.workflow_name (
    source text collate "C" not null,
    workflow_id text collate "C" not null,
    external_id text collate "C" not null,
    learned_at timestamptz not null default now(),
    primary key (source, workflow_id)
);

-- A run as folded from its events: derived, for people; can be rebuilt.
create table atsync.run (
    source text collate "C" not null,
    run_id text collate "C" not null,
    ref text collate "C" not null,
    connector text collate "C" not null,
    is_contact boolean not null,
    is_latest boolean not null,
    workflow_id text collate "C",
    workflow_version_id text collate "C",
    workflow_external_id text collate "C",
    job text,
    profile_id text collate "C",
    external_id text collate "C",
    state text not null,
    outcome text,
    result text,
    error_code text,
    error_class text,
    last_failed_node_id text,
    cancellation_reason text,
    final_node_id text,
    truncated boolean not null,
    complete boolean not null,
    conflict boolean not null,
    started_at timestamptz,
    completed_at timestamptz,
    last_event_at timestamptz not null,
    nodes text not null,
    asked integer not null default 0,
    ask_at timestamptz,
    primary key (run_id, source)
);
create index run_ref on atsync.run (ref, source);
create index run_external on atsync.run (external_id);
create index run_workflow on atsync.run (source, workflow_external_id, last_event_at);
create index run_incomplete on atsync.run (source, workflow_external_id) where (truncated and not complete and outcome is not null) or conflict;
create index run_latest on atsync.run (last_event_at) where is_latest;
-- Which runs the sender's API is asked for: those that never ended and were not asked for yet, and those that were.
create index run_silent on atsync.run (source, last_event_at) where state = 'running' and ask_at is null;
create index run_asked on atsync.run (source, ask_at) where state = 'running' and ask_at is not null;

-- lz4 stores a 2 KiB body 1.7 times as fast as the default; servers before 14 or built without it keep the default.
do $$
begin
    if current_setting('server_version_num')::int >= 140000 then
        execute 'alter table atsync.event alter column body set compression lz4';
        execute 'alter table atsync.run alter column nodes set compression lz4';
    end if;
exception when feature_not_supported or invalid_parameter_value then
    null;
end
$$;

-- The ledger: every value wanted at the ATS under its key, revision by revision; the newest of a key is live.
create table atsync.ats_write (
    source text collate "C" not null,
    connector text collate "C" not null,
    ref text collate "C" not null,
    key text collate "C" not null,
    rev bigint not null,
    live boolean not null default true,
    kind text not null check (kind in ('field', 'tag', 'assessment', 'stage', 'reject', 'note')),
    target text not null,
    value text not null,
    hash text not null,
    base_hash text,
    job text,
    run_id text collate "C",
    workflow_external_id text collate "C",
    event_id text collate "C",
    event_time timestamptz,
    reason text not null,
    config_line integer,
    state text not null check (state in ('pending', 'sending', 'applied', 'skipped', 'dead', 'superseded')),
    uncertain boolean not null default false,
    attempts integer not null default 0,
    lease_no bigint not null,
    created_at timestamptz not null default now(),
    first_tried_at timestamptz,
    last_tried_at timestamptz,
    next_attempt_at timestamptz,
    applied_at timestamptz,
    http_status integer,
    error_class text,
    error text,
    primary key (ref, source, connector, key, rev)
) with (autovacuum_vacuum_scale_factor = 0.02);
create index ats_write_open on atsync.ats_write (connector, state) where live and state in ('pending', 'sending', 'dead');

-- One HTTP call that was made.
create table atsync.ats_call (
    source text collate "C" not null,
    connector text collate "C" not null,
    ref text collate "C" not null,
    at timestamptz not null,
    verb text not null,
    method text not null,
    path text not null,
    http_status integer,
    outcome text not null,
    duration_ms double precision not null,
    error text
) with (autovacuum_vacuum_insert_threshold = 50000, autovacuum_vacuum_insert_scale_factor = 0);
create index ats_call_ref on atsync.ats_call (ref, source);
create index ats_call_at on atsync.ats_call (at);

create table atsync.workflow_version (
    source text collate "C" not null,
    workflow_id text collate "C" not null,
    workflow_version_id text collate "C" not null,
    workflow_external_id text collate "C",
    organization_id text,
    version_number bigint,
    published_by_user_id text,
    published_at timestamptz,
    event_id text collate "C" not null,
    event_time timestamptz not null,
    primary key (source, workflow_id, workflow_version_id)
);

create table atsync.contact_resolution (
    source text collate "C" not null,
    event_id text collate "C" not null,
    kind text not null check (kind in ('resolved', 'skipped', 'failed')),
    ref text collate "C" not null,
    record_id text not null,
    organization_id text,
    workflow_id text collate "C",
    workflow_external_id text collate "C",
    workflow_version_id text collate "C",
    version_number bigint,
    profile_id text collate "C",
    external_id text collate "C",
    email text,
    phone_number text,
    is_new_profile boolean,
    existing_run_status text,
    contact_index bigint,
    event_time timestamptz not null,
    primary key (event_id, source)
);
create index contact_resolution_ref on atsync.contact_resolution (ref, source);
create index contact_resolution_nameless on atsync.contact_resolution (source) where kind = 'failed' and external_id is null;

-- What all daemons share about a connector.
create table atsync.connector_state (
    connector text collate "C" primary key,
    state text not null default 'ok' check (state in ('ok', 'throttled', 'open', 'paused')),
    reason text,
    hint text,
    since timestamptz not null default now(),
    until timestamptz,
    paused_by_operator boolean not null default false,
    config_hash text,
    mapping_hash text,
    opens integer not null default 0,
    window_at timestamptz not null default now(),
    calls bigint not null default 0,
    failures bigint not null default 0,
    quota_day date,
    quota_used bigint not null default 0
) with (fillfactor = 50);

-- Daemons that are alive, so that they can share a connector's rate.
create table atsync.daemon (
    owner text collate "C" primary key,
    delivers boolean not null,
    version text not null,
    started_at timestamptz not null default now(),
    seen_at timestamptz not null default now()
);

-- What all daemons share about a source's API: how much it was asked today, and until when not at all.
create table atsync.source_api (
    source text collate "C" primary key,
    fingerprint text not null,
    day date,
    used bigint not null default 0,
    until timestamptz,
    failures integer not null default 0,
    problem text,
    error text,
    seen_at timestamptz not null default now()
) with (fillfactor = 50);

create table atsync.issue (
    id bigint generated always as identity primary key,
    class text collate "C" not null,
    scope text collate "C" not null,
    severity text not null check (severity in ('info', 'warning', 'error')),
    source text collate "C",
    connector text collate "C",
    workflow_external_id text collate "C",
    message text not null,
    hint text not null,
    affected_candidates bigint not null default 0,
    first_seen timestamptz not null default now(),
    last_seen timestamptz not null default now(),
    closed_at timestamptz,
    hold_until timestamptz -- told by one daemon of several: not closed before
);
create unique index issue_open on atsync.issue (class, scope) where closed_at is null;
create index issue_seen on atsync.issue (last_seen desc);

-- What was done in each minute, added up by the daemons for charts; a minute without a row is one in which no daemon ran.
create table atsync.activity_minute (
    minute timestamptz primary key,
    events bigint not null,
    duplicates bigint not null,
    refused bigint not null,
    writes bigint not null,
    failed_writes bigint not null,
    calls bigint not null,
    failed_calls bigint not null,
    synced bigint not null,
    lag_ms bigint not null,
    longest_lag_ms bigint not null
) with (fillfactor = 50);

-- Tokens that an ATS gave us, sealed, and the lease under which one daemon of all renews them.
create table atsync.connector_token (
    connector text collate "C" primary key,
    version bigint not null default 0,
    seed text,
    sealed text,
    renewed_at timestamptz,
    lease_owner text collate "C",
    lease_until timestamptz
) with (fillfactor = 50);

-- What is left of people who were erased: HMAC-SHA256 of each name that they were known by ("x:<external id>", "p:<profile id>", "r:<run id>",
-- "c:<contact>", "e:<event of nobody>", "m:<e-mail>", "t:<phone>", "o:<conversation>"), so that what comes of them later is not kept. One key for all, made with the first.
create table atsync.tombstone (
    source text collate "C" not null,
    hash bytea not null,
    erased_at timestamptz not null default now(), -- the same for all names of a person
    primary key (source, hash)
);
create table atsync.tombstone_key (
    one boolean primary key default true check (one),
    inner_key bytea not null, -- 64 bytes: the key with the paddings of RFC 2104
    outer_key bytea not null
);

create function atsync.tombstone_hash(k atsync.tombstone_key, source text, name text)
returns bytea language sql stable as $$
    select sha256(k.outer_key || sha256(k.inner_key || convert_to(source, 'UTF8') || decode('00', 'hex') || convert_to(name, 'UTF8')))
$$;

-- Which events of a batch (by their place, from 1) are about erased people; asked, where there are any, in the transaction that stores the events, under the same lock.
-- Negative: such an event tells a run or profile of that person that is not known to be one yet. also: further names, also_of their events.
create function atsync.erased(sources text[], event_ids text[], subjects text[], external_ids text[], profile_ids text[], run_ids text[], also_of bigint[], also text[])
returns bigint[] language plpgsql volatile set jit = off as $$
begin
    perform pg_advisory_xact_lock_shared(hashtextextended('atsync.erase', 0));
    if not exists (select from atsync.tombstone) then
        return '{}';
    end if;
    return (
        with event as materialized (
            select * from unnest(sources, event_ids, subjects, external_ids, profile_ids, run_ids) with ordinality
                              as e (source, event_id, subject, external_id, profile_id, run_id, place)
        ), hashed as materialized (
            select e.place, e.source, n.name, atsync.tombstone_hash(k, e.source, n.name) as hash, e.external_id is null as is_nameless
            from event e
            cross join lateral (select case when e.subject = '' then 'e:' || e.event_id else e.subject end as name union select 'x:' || e.external_id
                                union select 'p:' || e.profile_id union select 'r:' || e.run_id
                                union select a.name from unnest(also_of, also) as a (place, name) where a.place = e.place) n
            cross join atsync.tombstone_key k
            where n.name is not null
        ), name as materialized (
            select h.place, h.name, t.is_erased is not null as is_erased, h.is_nameless
            from hashed h -- limit: one by one by index, however many there are
            left join lateral (select true as is_erased from atsync.tombstone t where t.source = h.source and t.hash = h.hash limit 1) t on true
        )
        select coalesce(array_agg(case when j.tells_more then -j.place else j.place end order by j.place), '{}')
        from (
            select n.place,
                   -- where the event names somebody else, only the profile or the run is that of the erased person
                   bool_or(n.name ~ '^[pr]:' and not n.is_erased) and (bool_and(n.is_nameless) or bool_or(n.name like 'x:%' and n.is_erased)) as tells_more
            from name n
            group by n.place
            having bool_or(n.is_erased)
        ) j
    );
end
$$;
