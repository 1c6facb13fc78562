-- Senders of whom something is about to be stored for the first time, as far as the caller knows.
insert into atsync.source (source) select distinct u.source from unnest($1::text[]) as u (source) order by u.source on conflict (source) do nothing
