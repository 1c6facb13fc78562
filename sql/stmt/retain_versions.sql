-- Forgets published versions of workflows that are over age and have been followed by others since.
-- plan: anew
with gone as (
    delete from atsync.workflow_version
    where ctid = any (array(select v.ctid
                            from atsync.workflow_version v
                            where v.event_time < now() - $1 * interval '1 millisecond'
                                  and exists (select from atsync.workflow_version n
                                              where n.source = v.source and n.workflow_id = v.workflow_id
                                                    and (n.published_at, n.event_time, n.workflow_version_id)
                                                        > (v.published_at, v.event_time, v.workflow_version_id))
                            limit $2))
    returning 1
)
select count(*) from gone
