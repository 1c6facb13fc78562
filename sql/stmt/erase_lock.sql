-- Until the end of the transaction nobody tells issues, and then nobody stores events: an issue takes long to find, and events must not wait for that.
select pg_advisory_xact_lock(hashtextextended('atsync.issues', 0))
union all
select pg_advisory_xact_lock(hashtextextended('atsync.erase', 0))
