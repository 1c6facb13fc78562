-- The workflow ids with the external ids that events told of them; of a crowd beyond all sense those that were learned first.
select source, workflow_id, external_id from atsync.workflow_name order by learned_at, source, workflow_id limit $1
