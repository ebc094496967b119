-- Searches with start <= timestamp <= end, oldest first, but for those younger than `settle` seconds.
select query_id, timestamp, status, num_results, num_entries, query, outcome
from queries
where timestamp between %(start)s and %(end)s
    and timestamp <= coalesce(
        (extract(epoch from now()) - nullif(%(settle)s::float8, 0))::bigint, 9223372036854775807
    )
order by timestamp, query_id
