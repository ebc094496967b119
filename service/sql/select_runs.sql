-- Successful runs of a search up to one of them, the latest first, without those younger than the read
-- delay. A run that an operator recorded has no search_key; then the text of its query identifies the
-- search.
select query_id, timestamp, status, num_results, num_entries, query, outcome, search_key
from queries
where outcome = 'ok'
    and query_id <= %(query_id)s::bigint
    and greatest(timestamp, recorded) <= visible_until(%(read_delay)s::float8)
    and (
        search_key = %(search_key)s::uuid
        or %(search_key)s::uuid is null
        and search_key is null
        and md5(query) = md5(%(query)s::text)
        and query = %(query)s::text
    )
order by query_id desc
limit %(limit)s::bigint
