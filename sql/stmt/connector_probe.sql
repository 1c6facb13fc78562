-- One daemon gets the right to try one candidate of an open connector whose time is over.
update atsync.connector_state
set until = now() + $2 * interval '1 millisecond'
where connector = $1 and state = 'open' and until <= now()
returning connector
