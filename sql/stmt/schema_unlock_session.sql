-- Gives back what schema_lock_session took.
select pg_advisory_unlock(hashtextextended('atsync.migrate', 0))
