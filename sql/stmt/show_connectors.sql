-- Each connector: whether it works and who waits for it.
select row_to_json(c)::text from atsync.connector_status c order by c.connector
