-- Every configured connector has a row, so that the views show it from the start.
insert into atsync.connector_state (connector)
select u.connector from unnest($1::text[]) as u (connector) order by u.connector
on conflict (connector) do nothing
