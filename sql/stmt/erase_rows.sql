-- Deletes what is stored under these names of a person ($2), and the events $3, and remembers all of these names, and $4, as hashes. Returns how many rows of
-- each table went.
-- plan: anew
with gone as materialized (
    select e.event_id from atsync.event e where e.source = $1 and e.subject = any ($2::text[]) and e.subject <> ''
    union
    select u.event_id from unnest($3::text[]) as u (event_id)
), before as materialized (
    select max(t.erased_at) as erased_at
    from unnest($2) as u (name)
    cross join atsync.tombstone_key k
    join atsync.tombstone t on t.source = $1 and t.hash = atsync.tombstone_hash(k, $1, u.name)
), tombstones as (
    insert into atsync.tombstone (source, hash, erased_at)
    select distinct $1::text, atsync.tombstone_hash(k, $1, n.name), coalesce(b.erased_at, now())
    from (select 'e:' || u.event_id as name from unnest($3) as u (event_id) union select u.name from unnest($2::text[] || $4::text[]) as u (name)) n
    cross join atsync.tombstone_key k
    cross join before b
    on conflict (source, hash) do nothing
), events as (
    delete from atsync.event e using gone g where e.source = $1 and e.event_id = g.event_id returning 1
), runs as (
    delete from atsync.run r
    where r.source = $1 and (r.ref = any ($2) or r.run_id = any (array(select substr(u.name, 3) from unnest($2) as u (name) where u.name like 'r:%')))
    returning 1
), writes as (
    delete from atsync.ats_write w where w.source = $1 and w.ref = any ($2) returning 1
), calls as (
    delete from atsync.ats_call a where a.source = $1 and a.ref = any ($2) returning 1
), contacts as (
    delete from atsync.contact_resolution q
    where q.source = $1 and (q.ref = any ($2) or q.event_id = any (array(select g.event_id from gone g)))
    returning 1
), identities as (
    delete from atsync.identity i where i.source = $1 and (i.ref = any ($2) or i.alias = any ($2)) returning 1
), candidates as (
    delete from atsync.candidate c where c.source = $1 and c.ref = any ($2) returning 1
)
select (select count(*) from events), (select count(*) from runs), (select count(*) from writes), (select count(*) from calls),
       (select count(*) from contacts), (select count(*) from identities), (select count(*) from candidates)
