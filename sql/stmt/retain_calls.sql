-- Forgets the oldest calls that are over age.
-- plan: anew
with gone as (
    delete from atsync.ats_call
    where ctid = any (array(select c.ctid
                            from atsync.ats_call c
                            where c.at < now() - $1 * interval '1 millisecond'
                            order by c.at
                            limit $2))
    returning 1
)
select count(*) from gone
