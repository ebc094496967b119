-- Runs by query_id, the latest first, without those younger than the read delay.
select query_id, timestamp, status, num_results, num_entries, query, outcome
from queries
where query_id = any(%(query_ids)s::bigint[])
    and greatest(timestamp, recorded) <= visible_until(%(read_delay)s::float8)
order by timestamp desc, query_id desc
