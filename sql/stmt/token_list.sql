-- Every sealed token, to be sealed anew when the key has changed.
select connector, version, sealed from atsync.connector_token where sealed is not null order by connector
