-- Values that are no longer wanted: those that were not done become superseded, and a row with a successor stops being live.
update atsync.ats_write w
set state = case when w.state in ('pending', 'sending', 'dead') then 'superseded' else w.state end,
    live = not s.replaced,
    uncertain = w.uncertain or w.state = 'sending' or s.uncertain,
    next_attempt_at = null
from unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::bigint[], $6::boolean[], $7::boolean[])
     as s (source, connector, ref, key, rev, replaced, uncertain)
where w.source = s.source and w.connector = s.connector and w.ref = s.ref and w.key = s.key and w.rev = s.rev
