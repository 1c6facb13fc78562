-- When a run is asked for again; less than 0 ms: not any more.
update atsync.run
set ask_at = case when $3 < 0 then 'infinity' else now() + $3 * interval '1 millisecond' end
where source = $1 and run_id = $2
