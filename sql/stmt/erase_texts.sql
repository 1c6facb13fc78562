-- What else an event of another family may call the person by: conversations of the runs, and e-mail addresses as they were written.
select distinct n.node -> 'outcome' ->> 'conversationId', true
from atsync.run r
cross join lateral jsonb_array_elements(r.nodes::jsonb) as n (node)
where r.source = $1 and r.ref = any ($2::text[]) and n.node -> 'outcome' ->> 'conversationId' <> ''
union all
select distinct q.email, false from atsync.contact_resolution q where q.source = $1 and q.ref = any ($2) and q.email <> ''
