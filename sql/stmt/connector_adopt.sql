-- All that follows from a changed configuration has been done.
update atsync.connector_state set mapping_hash = $2 where connector = $1
