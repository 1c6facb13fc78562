-- The candidates and workflows with the newest events.
-- plan: anew
select row_to_json(q)::text from (select s.* from atsync.sync_status s order by s.last_event_at desc limit $1) q
