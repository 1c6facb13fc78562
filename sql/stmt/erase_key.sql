-- The key of all hashes, made once: $1 and $2 are new, and forgotten if there is one.
insert into atsync.tombstone_key (inner_key, outer_key) values ($1, $2) on conflict do nothing
