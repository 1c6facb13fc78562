-- Every source that anything is stored of, whether it is still in the configuration or not: from one to the next by index.
with recursive known (source) as (
    select ''::text collate "C"
    union all
    select least((select min(e.source) from atsync.event e where e.source > k.source),
                 (select min(c.source) from atsync.candidate c where c.source > k.source),
                 (select min(r.source) from atsync.run r where r.source > k.source),
                 (select min(i.source) from atsync.identity i where i.source > k.source),
                 (select min(t.source) from atsync.tombstone t where t.source > k.source))
    from known k
    where k.source is not null
)
select k.source from known k where k.source <> ''
