-- The queue in one row.
select row_to_json(q)::text from atsync.queue_health q
