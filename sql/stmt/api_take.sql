-- One more request of today, unless there were $2 already.
update atsync.source_api
set used = case when day = (now() at time zone 'UTC')::date then used else 0 end + 1, day = (now() at time zone 'UTC')::date
where source = $1 and (day is distinct from (now() at time zone 'UTC')::date or used < $2)
returning used
