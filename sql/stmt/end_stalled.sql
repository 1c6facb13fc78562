-- Ends our own sessions that wait in the middle of a transaction for the rest of what a daemon was about to send, and holds rows until then: that daemon is
-- stopped, or its machine is. idle_in_transaction_session_timeout is for who waits between statements; for who waits within a pipeline PostgreSQL
-- has no time limit before transaction_timeout of 17, which would count the time of a slow statement, too. $1: for how long, in ms. Found first and then
-- ended: of two conditions side by side the planner may ask the cheaper one first.
with stalled as materialized (
    select a.pid, a.application_name
    from pg_stat_activity a
    where a.datname = current_database() and a.usename = current_user and a.pid <> pg_backend_pid()
          and (starts_with(a.application_name, 'atsyncd ') or a.application_name = current_setting('application_name'))
          and a.state = 'active' and a.wait_event = 'ClientRead' and a.xact_start is not null
          and a.query_start < clock_timestamp() - $1 * interval '1 millisecond'
)
select s.application_name from stalled s where pg_terminate_backend(s.pid)
