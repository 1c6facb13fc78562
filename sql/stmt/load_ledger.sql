-- The live rows of the ledger of the claimed candidates.
select c.idx, w.key, w.rev, w.kind, w.hash, w.base_hash, w.state, w.uncertain, w.attempts::bigint, w.first_tried_at, w.next_attempt_at, w.error_class is not null
from unnest($1::text[], $2::text[], $3::text[]) with ordinality as c (source, connector, ref, idx)
join atsync.ats_write w on w.source = c.source and w.connector = c.connector and w.ref = c.ref and w.live
order by c.idx, w.key collate "C"
