-- When the person with one of these names was erased; null: never.
select max(t.erased_at)
from unnest($2::text[]) as n (name)
cross join atsync.tombstone_key k
join atsync.tombstone t on t.source = $1 and t.hash = atsync.tombstone_hash(k, $1, n.name)
