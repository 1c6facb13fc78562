-- Gives the right to renew back.
update atsync.connector_token set lease_owner = null, lease_until = null where connector = $1 and lease_owner = $2
