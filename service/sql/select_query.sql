-- One run, unless it is younger than the read delay.
select query_id, timestamp, status, num_results, num_entries, query, outcome, search_key,
    remarks
from queries
where query_id = %(query_id)s::bigint
    and greatest(timestamp, recorded) <= visible_until(%(read_delay)s::float8)
