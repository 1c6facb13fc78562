-- A little of everything that a daemon of 0.1.0 leaves in its database, work in the queue included. schema_test brings it to the newest
-- schema and counts. Belongs to 0.1.0.sql, and like that is not changed once 0.1.0 is released.
insert into atsync.event (source, event_id, type, subject, external_id, profile_id, run_id, workflow_id, workflow_external_id, event_time, body)
select 'popp', 'e' || i, 'WORKFLOW_RUN_COMPLETED', 'r:run_' || i, 'ats_' || i, 'cp_' || i, 'run_' || i, 'w', 'cedar', '2026-05-12 09:34:10Z',
       convert_to('{"event":"WORKFLOW_RUN_COMPLETED","eventId":"e' || i || '","data":{"recordId":"run_' || i || '"}}', 'UTF8')
from generate_series(1, 100) as i;
insert into atsync.candidate (source, connector, ref, external_id, workflow_external_id, state, due_at, last_event_at)
select 'popp', case when i % 10 = 0 then '' else 'ats' end, 'p:cp_' || i, case when i % 10 <> 0 then 'ats_' || i end, 'cedar',
       case i % 10 when 0 then 'waiting_for_identity' when 1 then 'pending' when 2 then 'retrying' else 'synced' end,
       case when i % 10 in (1, 2) then now() end, now()
from generate_series(1, 100) as i;
insert into atsync.identity (source, alias, ref, external_id, origin)
select 'popp', 'r:run_' || i, 'p:cp_' || i, 'ats_' || i, case when i % 2 = 0 then 'event' else 'operator' end from generate_series(1, 100) as i;
insert into atsync.workflow_name (source, workflow_id, external_id) values ('popp', 'w', 'cedar');
insert into atsync.run (source, run_id, ref, connector, is_contact, is_latest, workflow_id, workflow_external_id, external_id, state, outcome,
                        truncated, complete, conflict, last_event_at, nodes)
select 'popp', 'run_' || i, 'p:cp_' || i, 'ats', false, true, 'w', 'cedar', 'ats_' || i, 'completed', 'completed', false, true, false, now(),
       '[{"nodeId":"n","outcome":{"answers":[{"slug":"pin","answer":"18C2094E","score":100}]}}]'
from generate_series(1, 100) as i;
insert into atsync.ats_write (source, connector, ref, key, rev, kind, target, value, hash, reason, state, lease_no, http_status, error_class, error)
select 'popp', 'ats', 'p:cp_' || i, 'stage:1', 1, 'stage', 'Screened', '"Screened"', 'h', 'completed/PASSED_CRITERIA',
       (array['applied', 'pending', 'sending', 'dead', 'skipped'])[1 + i % 5], 1, case when i % 5 = 3 then 404 end,
       case when i % 5 = 3 then 'not_found' end, case when i % 5 = 3 then 'no such stage' end
from generate_series(1, 100) as i;
insert into atsync.ats_call (source, connector, ref, at, verb, method, path, http_status, outcome, duration_ms)
select 'popp', 'ats', 'p:cp_' || i, now(), 'stage', 'PUT', '/candidates/ats_' || i, 200, 'ok', 12.5 from generate_series(1, 100) as i;
insert into atsync.connector_state (connector, state, reason) values ('ats', 'paused', 'the credentials are rejected');
insert into atsync.issue (class, scope, severity, connector, message, hint, closed_at)
values ('connector_paused', 'ats', 'error', 'ats', 'm', 'h', null), ('ats_away', 'ats', 'warning', 'ats', 'm', 'h', now());
insert into atsync.connector_token (connector, version, sealed) values ('ats', 1, 'sealed');
