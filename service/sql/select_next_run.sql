-- The first successful run of a search after one of them, without those younger than the read delay. See
-- select_runs.
select query_id, timestamp, status, num_results, num_entries, query, outcome, search_key
from queries
where outcome = 'ok'
    and query_id > %(query_id)s::bigint
    and greatest(timestamp, recorded) <= visible_until(%(read_delay)s::float8)
    and (
        search_key = %(search_key)s::uuid
        or %(search_key)s::uuid is null
        and search_key is null
        and md5(query) = md5(%(query)s::text)
        and query = %(query)s::text
    )
order by query_id
limit 1
