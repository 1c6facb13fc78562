-- Every workflow id with the external id that an event told of it.
select source, workflow_id, external_id from atsync.workflow_name
