-- Who tells issues looks at everything first: of several daemons one at a time, and not while a person is being erased (erase_lock). To the end of the transaction.
select pg_try_advisory_xact_lock(hashtextextended('atsync.issues', 0))
