-- The seconds until a sync that failed may be repeated; none or a negative number: at once.
select extract(epoch from retry_at - clock_timestamp())::float8 from mirror_syncs
where set_spec = '' and retry_at > '-infinity'
