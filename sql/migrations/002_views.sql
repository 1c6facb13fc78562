-- breaking: no. What people and dashboards read (atsyncd-views(7)); tables may change, these stay.

create or replace view atsync.runs as
select r.source, r.run_id, r.workflow_id, r.workflow_external_id, r.external_id as candidate_external_id, r.state, r.outcome, r.result, r.error_code,
       r.error_class, r.cancellation_reason, r.truncated, r.complete, r.started_at, r.completed_at, r.workflow_version_id, r.profile_id,
       r.last_failed_node_id, r.final_node_id, r.conflict, nullif(r.connector, '') as connector, r.job, r.last_event_at
from atsync.run r
where not r.is_contact;
comment on view atsync.runs is 'Workflow runs as folded from their events. By candidate_external_id: index run_external; by run: the primary key.';
comment on column atsync.runs.outcome is 'as the last terminal event says: completed, opted_out, delivery_failed, cancelled, failed, or a name that came later; null before it';
comment on column atsync.runs.error_class is 'of a failed run: SYSTEM (can be started again) or DATA (somebody has to look)';
comment on column atsync.runs.truncated is 'the terminal event left nodes out';
comment on column atsync.runs.connector is 'where the mapping sends this workflow; null: nowhere yet';
comment on column atsync.runs.state is 'contact (matched, not started), running, completed, failed, cancelled: what the last events say';
comment on column atsync.runs.result is 'of a completed run: how its deciding conversation ended (PASSED_CRITERIA, FAILED_CRITERIA, …)';
comment on column atsync.runs.complete is 'false while the run goes on, and while nodes are missing that a truncated event left out';
comment on column atsync.runs.conflict is 'two events ended the run differently; the later one counts';

create or replace view atsync.answers as
select r.source, r.external_id as candidate_external_id, r.workflow_external_id, r.run_id, n.node ->> 'nodeId' as node_id, a.answer ->> 'slug' as slug,
       a.answer ->> 'answer' as answer, a.answer ->> 'answerState' as answer_state, a.answer ->> 'trafficLight' as traffic_light,
       a.answer ->> 'outcome' as outcome, case when jsonb_typeof(a.answer -> 'score') = 'number' then (a.answer ->> 'score')::numeric end as score,
       a.answer ->> 'classifiedDocumentType' as classified_document_type, (n.node ->> 'completedAt')::timestamptz as answered_at,
       a.answer ->> 'documentS3Key' as document_s3_key, a.answer ->> 'documentTwilioMediaSid' as document_twilio_media_sid
from atsync.run r
cross join lateral jsonb_path_query(r.nodes::jsonb, '$[*]') as n (node)
cross join lateral jsonb_path_query(n.node, '$.outcome.answers[*]') as a (answer)
where jsonb_typeof(a.answer) = 'object';
comment on view atsync.answers is 'Every answer that a run holds. By candidate_external_id: index run_external; by run: the primary key of run.';
comment on column atsync.answers.answer is 'as text, whatever was sent';
comment on column atsync.answers.score is 'null unless a number was sent';
comment on column atsync.answers.answered_at is 'when the node was completed; null if that was not a time';

-- When something that is due at a time is tried, as its connector stands; null: not before somebody acts.
create or replace function atsync.not_before(due_at timestamptz, connector_state text, until timestamptz)
returns timestamptz language sql immutable as $$
    select case connector_state when 'paused' then null when 'open' then greatest(due_at, until) when 'throttled' then greatest(due_at, until) else due_at end
$$;

create or replace view atsync.pending_writes as
select w.source, c.external_id as candidate_external_id, w.workflow_external_id, w.connector, w.kind, w.target, w.value, w.attempts, w.http_status,
       w.error_class, w.error, w.first_tried_at, atsync.not_before(coalesce(w.next_attempt_at, c.due_at), s.state, s.until) as next_attempt_at, w.job, w.run_id, w.state, w.uncertain, w.reason,
       w.key
from atsync.ats_write w
left join atsync.candidate c on c.source = w.source and c.connector = w.connector and c.ref = w.ref
left join atsync.connector_state s on s.connector = w.connector
where w.live and w.state in ('pending', 'sending');
comment on view atsync.pending_writes is 'Writes that are wanted and not done yet. Index ats_write_open.';
comment on column atsync.pending_writes.target is 'name of the field, the tag, the job, or run and moment of the note';
comment on column atsync.pending_writes.value is 'a text as it is, anything else as JSON';
comment on column atsync.pending_writes.reason is 'the line of the mapping that wants it';
comment on column atsync.pending_writes.next_attempt_at is 'not before this time; null: as soon as possible, or while the connector is paused not at all';
comment on column atsync.pending_writes.key is 'with source, connector and candidate: which write this is';
comment on column atsync.pending_writes.uncertain is 'a call was made whose outcome is not known: a note is looked for before it is written again';

create or replace view atsync.dead_writes as
select w.source, c.external_id as candidate_external_id, w.workflow_external_id, w.connector, w.kind, w.target, w.value, w.attempts, w.http_status,
       w.error_class, w.error, w.first_tried_at, w.next_attempt_at, w.job, w.run_id, w.state, w.uncertain, w.reason, w.key
from atsync.ats_write w
left join atsync.candidate c on c.source = w.source and c.connector = w.connector and c.ref = w.ref
where w.live and w.state = 'dead';
comment on view atsync.dead_writes is 'Writes that cannot be done before somebody acts (atsyncctl retry, skip). Index ats_write_open.';
comment on column atsync.dead_writes.target is 'name of the field, the tag, the job, or run and moment of the note';
comment on column atsync.dead_writes.reason is 'the line of the mapping that wants it';
comment on column atsync.dead_writes.error_class is 'why: not_found, invalid, configuration, expired, uncertain, connector, …';

-- How a candidate and workflow stand; the one place where sync_state is decided.
create or replace function atsync.sync_state(queue_state text, connector text, leased boolean, waiting boolean, tried boolean, dead boolean, has_writes boolean,
                                             connector_state text, throttled boolean)
returns text language sql immutable as $$
    select case
        when connector = '' and queue_state in ('waiting_for_identity', 'unmapped') then queue_state
        when leased then 'in_progress'
        when waiting and connector_state = 'paused' then 'paused'
        when waiting and throttled then 'throttled'
        when waiting and (tried or connector_state = 'open') then 'retrying'
        when waiting then 'pending'
        when dead then 'dead'
        when has_writes then 'synced'
        else 'nothing_to_do'
    end
$$;

-- The two halves are plain reads of one table each, without conditions: only then does PostgreSQL merge their indexes for "the newest".
create or replace view atsync.sync_status as
select u.source, u.external_id as candidate_external_id, u.workflow_external_id, nullif(u.connector, '') as connector, u.job, u.run_id, u.run_state,
       u.outcome, u.result,
       atsync.sync_state(c.state, c.connector, coalesce(c.lease_until > now(), false), c.version > c.synced_version or w.pending > 0,
                         w.tried > 0 or c.attempts > 0, w.dead > 0, w.writes > 0, s.state, coalesce(s.state = 'throttled' and s.until > now(), false))
           as sync_state,
       coalesce(w.pending, 0) as pending_writes, coalesce(w.dead, 0) as dead_writes, u.last_event_at, c.last_synced_at,
       coalesce(c.blocked_since, w.dead_since) as blocked_since,
       case when w.pending > 0 then atsync.not_before(coalesce(w.next_attempt_at, c.due_at), s.state, s.until) end as next_attempt_at,
       coalesce(w.error, c.last_error) as last_error, u.ref
from (
    select r.source, r.ref, r.connector, r.external_id, r.workflow_external_id, r.job, case when not r.is_contact then r.run_id end as run_id,
           r.state as run_state, r.outcome, r.result, r.last_event_at, r.is_latest as is_shown, true as is_run
    from atsync.run r
    union all
    select q.source, q.ref, q.connector, q.external_id, q.workflow_external_id, null, null, null, null, null, q.last_event_at,
           q.due_at is not null and q.synced_version = 0 and q.ref !~ '^w:', false
    from atsync.candidate q
) u
left join atsync.candidate c on c.source = u.source and c.connector = u.connector and c.ref = u.ref
left join atsync.connector_state s on s.connector = u.connector
left join lateral (
    select count(*) as writes,
           count(*) filter (where q.state in ('pending', 'sending')) as pending,
           count(*) filter (where q.state in ('pending', 'sending') and q.attempts > 0 and q.error_class is not null) as tried,
           count(*) filter (where q.state = 'dead') as dead,
           min(coalesce(q.first_tried_at, q.created_at)) filter (where q.state = 'dead') as dead_since,
           min(q.next_attempt_at) filter (where q.state = 'pending') as next_attempt_at,
           (array_agg(q.error order by q.last_tried_at desc) filter (where q.state in ('pending', 'sending', 'dead') and q.error is not null))[1] as error
    from atsync.ats_write q
    where u.is_run and q.source = u.source and q.connector = u.connector and q.ref = u.ref and q.live and q.state <> 'superseded'
          and q.workflow_external_id is not distinct from u.workflow_external_id
) w on true
left join lateral (
    select true as has_run from atsync.run r where not u.is_run and r.source = u.source and r.ref = u.ref limit 1
) k on true
where u.is_shown and (u.is_run or k.has_run is null);
comment on view atsync.sync_status is
    'How each candidate and workflow stands: the newest run, and whether the ATS holds what follows from it. By candidate_external_id: indexes run_external and candidate_external; the newest (order by last_event_at desc limit n): run_latest and candidate_due.';
comment on column atsync.sync_status.run_id is 'of the newest run; null for a contact that could not be resolved';
comment on column atsync.sync_status.last_error is 'of the newest write that failed and is still wanted, else of the candidate';
comment on column atsync.sync_status.sync_state is
    'synced, pending, in_progress, retrying, throttled, paused, dead, unmapped, waiting_for_identity, nothing_to_do';
comment on column atsync.sync_status.blocked_since is 'since when nothing has gone through for this candidate, or something could not be done; null when all is well';

create or replace view atsync.workflow_versions as
select source, workflow_id, workflow_external_id, workflow_version_id, version_number, published_by_user_id, published_at, organization_id, event_id,
       event_time
from atsync.workflow_version;
comment on view atsync.workflow_versions is 'Published workflow versions, as told by WORKFLOW_PUBLISHED.';
comment on column atsync.workflow_versions.version_number is 'as Popp counts';

create or replace view atsync.contact_resolutions as
select source, event_id, kind, record_id, case when kind <> 'failed' then record_id end as run_id, organization_id, workflow_id, workflow_external_id,
       workflow_version_id, version_number, profile_id as candidate_profile_id, external_id, email, phone_number, is_new_profile, existing_run_status,
       contact_index, event_time
from atsync.contact_resolution;
comment on view atsync.contact_resolutions is 'Contacts that were resolved, skipped, or failed, with all that the events said.';
comment on column atsync.contact_resolutions.kind is 'resolved, skipped, failed';
comment on column atsync.contact_resolutions.record_id is 'of a failed contact: what tells it from others; else the run';
comment on column atsync.contact_resolutions.existing_run_status is 'of a skipped contact: how the run that goes on already stands';

create or replace view atsync.connector_status as
select s.connector,
       case when w.is_over then 'ok' else s.state end as state, case when not w.is_over then s.reason end as reason,
       case when w.is_over then s.until else s.since end as since, case when not w.is_over then s.until end as until, coalesce(q.waiting, 0) as waiting_candidates, coalesce(q.oldest_seconds, 0) as oldest_waiting_seconds,
       coalesce(k.calls, 0) as calls_last_hour, coalesce(k.errors, 0) as errors_last_hour, k.p95_ms,
       case when s.quota_day = (now() at time zone 'UTC')::date then s.quota_used else 0 end as quota_used
from atsync.connector_state s
cross join lateral (select coalesce(s.state = 'throttled' and s.until <= now(), false) as is_over) w
left join lateral (
    select count(*) as waiting, greatest(extract(epoch from now() - min(least(c.due_at, c.blocked_since))), 0)::bigint as oldest_seconds
    from atsync.candidate c where c.connector = s.connector and c.due_at is not null
) q on true
left join lateral (
    select count(*) as calls, count(*) filter (where a.outcome not in ('ok', 'already', 'skip', 'lookup')) as errors,
           percentile_cont(0.95) within group (order by a.duration_ms) as p95_ms
    from atsync.ats_call a where a.at > now() - interval '1 hour' and a.connector = s.connector
) k on true;
comment on view atsync.connector_status is 'Each connector: whether it works, who waits for it, and how its calls went in the last hour (index ats_call_at).';
comment on column atsync.connector_status.state is 'ok; throttled: the ATS asked to wait; open: too many calls failed, nothing is tried until the time in until; paused: nothing goes on before somebody acts';
comment on column atsync.connector_status.oldest_waiting_seconds is 'by this database''s clock: how long the one has waited who has waited longest';
comment on column atsync.connector_status.calls_last_hour is 'HTTP calls, lookups included';
comment on column atsync.connector_status.p95_ms is 'of the calls of the last hour';
comment on column atsync.connector_status.quota_used is 'calls of today (UTC), where the ATS limits the calls of a day; else 0';

create or replace view atsync.queue_health as
select q.waiting, q.due_now, q.leased, q.retrying, q.oldest_due_seconds,
       (select count(*) from atsync.event e where e.received_at > now() - interval '1 minute') as ingest_per_minute,
       (select count(distinct (a.source, a.connector, a.ref)) from atsync.ats_call a
        where a.at > now() - interval '1 minute' and a.outcome in ('ok', 'already')) as synced_per_minute
from (
    select count(*) filter (where c.lease_until > now() is not true) as waiting,
           count(*) filter (where c.lease_until > now() is not true and c.due_at <= now()) as due_now,
           count(*) filter (where c.lease_until > now()) as leased,
           count(*) filter (where c.lease_until > now() is not true and c.attempts > 0) as retrying,
           coalesce(extract(epoch from now() - min(c.due_at) filter (where c.lease_until > now() is not true and c.due_at <= now())), 0)::bigint as oldest_due_seconds
    from atsync.candidate c
    where c.due_at is not null
) q;
comment on view atsync.queue_health is 'The queue in one row. Index candidate_due; the rates come from event_received and ats_call_at.';
comment on column atsync.queue_health.due_now is 'could be worked on now; it should be near 0';
comment on column atsync.queue_health.leased is 'in work';
comment on column atsync.queue_health.synced_per_minute is 'candidates with a successful call';

create or replace view atsync.issues as
select i.id, i.class, i.severity, i.connector, i.workflow_external_id, i.message, i.hint, i.affected_candidates, i.first_seen, i.last_seen, i.closed_at, i.source
from atsync.issue i;
comment on view atsync.issues is 'What is wrong or was, in words: opened and closed by the daemon. Open ones have no closed_at.';

create or replace view atsync.erasures as
select t.source, t.erased_at, count(*) as names
from atsync.tombstone t
group by t.source, t.erased_at;
comment on view atsync.erasures is 'Which erasures of people there were (atsyncctl erase): when, not whose. Reads all tombstones.';
comment on column atsync.erasures.names is 'so many ids and addresses are known again by their hash: what comes under them is not kept';

create or replace view atsync.activity as
select a.minute, a.events, a.duplicates, a.refused, a.writes, a.failed_writes, a.calls, a.failed_calls, a.synced,
       a.lag_ms::double precision / nullif(a.synced, 0) / 1000 as lag_seconds, a.longest_lag_ms::double precision / 1000 as longest_lag_seconds
from atsync.activity_minute a;
comment on view atsync.activity is
    'What was done in each minute of the last 31 days, as counted by the daemons. A minute without a row: no daemon ran, or none reached the database. Index activity_minute_pkey.';
comment on column atsync.activity.events is 'webhooks that were stored';
comment on column atsync.activity.duplicates is 'webhooks that had been stored before';
comment on column atsync.activity.refused is 'webhooks that were not taken: signature, organization, form, size, database away';
comment on column atsync.activity.writes is 'writes that the ATS took';
comment on column atsync.activity.failed_writes is 'attempts that the ATS did not take; they are repeated unless they are in dead_writes';
comment on column atsync.activity.calls is 'HTTP requests to an ATS, lookups included';
comment on column atsync.activity.synced is 'how often a candidate was brought up to date';
comment on column atsync.activity.lag_seconds is 'from an event being stored to the ATS holding what follows from it: the average; null if there was none';

create or replace view atsync.candidate_timeline as
select who.source, who.external_id as candidate_external_id, t.at, t.kind, t.summary, t.detail
from (select distinct c.source, c.ref, c.external_id from atsync.candidate c where c.external_id is not null) who
cross join lateral (
    select e.event_time as at, 'event' as kind, e.type as summary,
           concat_ws(', ', case when e.body is null then 'no longer kept, nor are others of this run' end, case when e.event_id like '(api)/%' then 'made from Popp''s API' end, 'run ' || e.run_id, 'workflow ' || e.workflow_external_id, 'received ' || to_char(e.received_at at time zone 'UTC', 'YYYY-MM-DD HH24:MI:SS"Z"')) as detail
    from (select who.ref as subject
          union select i.alias from atsync.identity i where i.source = who.source and i.ref = who.ref and not i.conflict) s
    join atsync.event e on e.source = who.source and e.subject = s.subject and e.subject <> ''
    union all
    select coalesce(w.applied_at, w.last_tried_at, w.created_at), 'write', concat_ws(' ', w.kind, nullif(w.target, ''), w.state),
           concat_ws(', ', 'because of ' || w.reason, 'connector ' || w.connector, w.attempts || ' attempts', w.error)
    from atsync.candidate c
    join atsync.ats_write w on w.source = c.source and w.connector = c.connector and w.ref = c.ref
    where c.source = who.source and c.ref = who.ref and c.external_id = who.external_id
    union all
    select a.at, 'call', a.method || ' ' || a.path || coalesce(' -> ' || a.http_status, ''),
           concat_ws(', ', a.verb, a.outcome, round(a.duration_ms) || ' ms', a.error)
    from atsync.ats_call a where a.source = who.source and a.ref = who.ref
    union all
    select i.first_seen, 'issue', i.class, concat_ws(' ', i.message, 'over since ' || to_char(i.closed_at at time zone 'UTC', 'YYYY-MM-DD HH24:MI:SS"Z"'))
    from atsync.issue i
    where i.source = who.source
          and case i.class
              when 'dead_writes' then
                  exists (select from atsync.candidate c
                          join atsync.ats_write w on w.source = c.source and w.connector = c.connector and w.ref = c.ref
                          where c.source = who.source and c.ref = who.ref and c.external_id = who.external_id and w.connector = i.connector
                                and w.live and w.state = 'dead' and w.workflow_external_id is not distinct from i.workflow_external_id)
              when 'unmapped' then
                  exists (select from atsync.run r where r.source = who.source and r.ref = who.ref and r.connector = ''
                                                         and r.workflow_external_id is not distinct from i.workflow_external_id)
              when 'truncated' then
                  exists (select from atsync.run r where r.source = who.source and r.ref = who.ref and r.truncated and not r.complete
                                                         and r.workflow_external_id is not distinct from i.workflow_external_id)
              when 'run_conflict' then
                  exists (select from atsync.run r where r.source = who.source and r.ref = who.ref and r.conflict
                                                         and r.workflow_external_id is not distinct from i.workflow_external_id)
              when 'too_large' then
                  exists (select from atsync.candidate c where c.source = who.source and c.ref = who.ref and c.external_id = who.external_id
                                                               and c.error_class = 'too_large')
              when 'identity_conflict' then
                  exists (select from atsync.identity n where n.source = who.source and n.ref = who.ref and n.conflict and i.scope like '%/' || n.alias)
              else false end
) t
order by t.at;
comment on view atsync.candidate_timeline is
    'The story of a candidate: events, writes, calls, issues, in order. By candidate_external_id: index candidate_external, then event_subject, ats_write_pkey, ats_call_ref.';
comment on column atsync.candidate_timeline.kind is 'event, write, call, issue';

comment on schema atsync is 'atsyncd: webhooks received, runs, the ledger of ATS writes, and the views that tell about them.';
comment on table atsync.event is 'Events as received. Of those that are over age (retention.events) the id is left, and of each run one row with its reference and last time; their body is null.';
comment on table atsync.candidate is 'The queue: candidates of a connector, when they are due and who works on them.';
comment on column atsync.candidate.due_at is 'when it has to be looked at; null: nothing to do. It stays while somebody works on it';
comment on column atsync.candidate.lease_until is 'until when it belongs to lease_owner; null or past: to nobody';
comment on column atsync.candidate.lease_no is 'raised by each claim; results count under the newest number only';
comment on column atsync.candidate.tried_again_at is 'since when its connector went on, or had another configuration, when it was made due for that: once each time';
comment on column atsync.candidate.sending is 'set writes that are being sent, or were when their daemon ended: revision, kind, hash, key';
comment on table atsync.identity is 'Other names of candidates (p: profile, r: run, c: contact) and whose they are.';
comment on table atsync.workflow_name is 'External ids of workflows, as told by events.';
comment on table atsync.run is 'Runs folded from events; derived. Read the view runs.';
comment on table atsync.ats_write is 'The ledger: what was wanted at the ATS and what became of it.';
comment on table atsync.ats_call is 'HTTP calls made.';
comment on table atsync.workflow_version is 'Read the view workflow_versions.';
comment on table atsync.contact_resolution is 'Read the view contact_resolutions.';
comment on table atsync.connector_state is 'What all daemons share about a connector.';
comment on table atsync.source_api is 'What all daemons share about Popp''s API, which incomplete runs are asked for at; empty unless it is configured.';
comment on table atsync.source is 'Senders (sources) that anything was stored of, and since when.';
comment on table atsync.daemon is 'Daemons that are alive, so that they can share the rate of a connector.';
comment on table atsync.activity_minute is 'Read the view activity.';
comment on table atsync.tombstone is 'Names of erased people, as keyed hashes: what comes under them is not kept. Read the view erasures.';
comment on table atsync.tombstone_key is 'The key of these hashes: one row, made with the first of them.';
comment on table atsync.connector_token is 'What signing in at an ATS gave, encrypted with database.encryption_key. Newer versions replace older ones.';
comment on table atsync.issue is 'Read the view issues.';
comment on table atsync.schema_version is 'Migrations applied.';

-- The reader may look at the views and at nothing else. Creating the role takes a privilege that a plain owner may not have: atsyncctl setup does it then.
do $$
begin
    if not exists (select from pg_roles where rolname = 'atsync_reader') then
        create role atsync_reader nologin;
    end if;
exception when insufficient_privilege or duplicate_object or unique_violation then
    null;
end
$$;
do $$
declare
    v text;
begin
    if exists (select from pg_roles where rolname = 'atsync_reader') then
        execute 'grant usage on schema atsync to atsync_reader';
        for v in select format('atsync.%I', viewname) from pg_views where schemaname = 'atsync' loop
            execute 'grant select on ' || v || ' to atsync_reader';
        end loop;
    end if;
end
$$;
