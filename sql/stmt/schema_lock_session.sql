-- The same lock for a migration that cannot be in a transaction; held to the end of the session.
select pg_try_advisory_lock(hashtextextended('atsync.migrate', 0))
