-- Forgets issues that were closed long ago.
-- plan: anew
with gone as (
    delete from atsync.issue
    where id = any (array(select i.id from atsync.issue i where i.closed_at < now() - $1 * interval '1 millisecond' limit $2))
    returning 1
)
select count(*) from gone
