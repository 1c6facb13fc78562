-- Which events of a batch are about erased people, by their place from 1; negative if the event tells more names of one. $7, $8: further names of some
-- events. Until the transaction ends nobody is erased.
select u.place from unnest(atsync.erased($1, $2, $3, $4, $5, $6, $7::bigint[], $8::text[])) as u (place)
