-- The same tokens under another key: only if nobody has replaced them meanwhile, and no new version, as nothing has changed for whoever uses them.
update atsync.connector_token
set sealed = $4
where connector = $1 and version = $2 and sealed = $3
returning connector
