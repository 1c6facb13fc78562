-- Wakes the dispatchers of other processes; outside any insert, because a NOTIFY makes commits wait for each other.
select pg_notify('atsync_wake', '')
