-- Daemons that have been seen in the last minute.
select row_to_json(d)::text
from (select d.owner, d.delivers, d.version, d.started_at, d.seen_at from atsync.daemon d where d.seen_at > now() - interval '1 minute' order by d.owner) d
