-- A run that was taken and has not had its turn after all.
update atsync.run
set asked = greatest(asked - 1, 0), ask_at = now()
where source = $1 and run_id = $2
