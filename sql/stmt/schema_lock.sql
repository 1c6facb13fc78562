-- One migration at a time; held to the end of the transaction. Does not wait (lock() in schema.c says why).
select pg_try_advisory_xact_lock(hashtextextended('atsync.migrate', 0))
