-- Whether this daemon is the one that forgets: of several one at a time, until the end of the transaction. What follows asks for rows by their keys, also
-- where a plan is made while a table is empty; compiling it would take a hundred times as long as running it.
select pg_try_advisory_xact_lock(hashtextextended('atsync.retention', 0)), set_config('enable_seqscan', 'off', true), set_config('jit', 'off', true)
