-- What failed because of the configuration is tried again, now that it has changed.
with revived as (
    update atsync.ats_write w
    set state = 'pending', attempts = 0, first_tried_at = null, next_attempt_at = null
    where w.live and w.state = 'dead' and w.error_class in ('configuration', 'permission', 'credentials', 'connector') and w.connector = $1
    returning w.source, w.connector, w.ref
), woken as (
    update atsync.candidate c
    set version = c.version + 1, attempts = 0, due_at = case when c.lease_owner is null then now() else c.due_at end
    from (select distinct source, connector, ref from revived) r
    where c.source = r.source and c.connector = r.connector and c.ref = r.ref
)
select count(*) from revived
