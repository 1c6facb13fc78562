-- The live rows of the ledger of the claimed candidates, and (is_elsewhere) notes that other connectors have written, or may have.
select c.idx, w.key, w.rev, w.kind, w.hash, w.base_hash, w.state, w.uncertain, w.attempts::bigint, w.first_tried_at, w.next_attempt_at, w.error_class is not null,
       w.connector <> c.connector as is_elsewhere
from unnest($1::text[], $2::text[], $3::text[]) with ordinality as c (source, connector, ref, idx)
join atsync.ats_write w on w.source = c.source and w.ref = c.ref and w.live
                           and (w.connector = c.connector or w.kind = 'note' and (w.state in ('applied', 'sending') or w.uncertain))
order by c.idx, w.key collate "C"
