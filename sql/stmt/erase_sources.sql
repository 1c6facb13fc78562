-- Every sender that anything is stored of, or was, whether it is still in the configuration or not.
select source from atsync.source order by source
