-- One migration at a time; held to the end of the transaction.
select pg_advisory_xact_lock(hashtextextended('atsync.migrate', 0))
