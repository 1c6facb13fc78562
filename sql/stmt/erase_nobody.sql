-- Events that are kept under nobody's name and may be about this person: those that name one of $2 in a column, or hold one of the texts $3 anywhere. A page of
-- $6 of those received since $4, behind $5, or of as many as have $7 bytes; the last row is where the page ends.
-- plan: anew
with page as materialized (
    select s.event_id, s.profile_id, s.run_id, s.body
    from (
        select o.*, sum(octet_length(o.body)) over (order by o.event_id rows unbounded preceding) as size_so_far
        from (
            select e.event_id, e.profile_id, e.run_id, e.body
            from atsync.event e
            where e.source = $1 and e.subject = '' and e.body is not null and e.received_at >= $4 and e.event_id > $5
            order by e.event_id
            limit $6
        ) o
    ) s
    where s.size_so_far - octet_length(s.body) < $7
), found as (
    select p.event_id, 'p:' || p.profile_id = any ($2::text[]) or 'r:' || p.run_id = any ($2) as certain, p.body
    from page p
    where 'p:' || p.profile_id = any ($2) or 'r:' || p.run_id = any ($2)
          or exists (select from unnest($3::text[]) as u (text) where position(convert_to(u.text, 'UTF8') in p.body) > 0)
)
select f.event_id, coalesce(f.certain, false), f.body, 0::bigint from found f
union all
(select p.event_id, false, null, (select count(*) from page) from page p order by p.event_id desc limit 1)
