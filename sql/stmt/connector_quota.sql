-- Counts requests against the vendor's daily quota; tells how many there were today and how long today still lasts.
update atsync.connector_state
set quota_used = case when quota_day = (now() at time zone 'UTC')::date then quota_used else 0 end + $2,
    quota_day = (now() at time zone 'UTC')::date
where connector = $1
returning quota_used,
          (extract(epoch from date_trunc('day', now() at time zone 'UTC') + interval '1 day' - (now() at time zone 'UTC')) * 1000)::bigint
