-- The runs of one search with a good answer, up to one of them, the latest first, but for those younger
-- than `settle` seconds. A search that an
-- operator recorded has no key: then its text is what makes it the same.
select query_id, timestamp, status, num_results, num_entries, query, outcome, search_key
from queries
where outcome = 'ok'
    and query_id <= %(query_id)s::bigint
    and greatest(timestamp, recorded) <= coalesce(
        floor(extract(epoch from now()) - nullif(%(settle)s::float8, 0))::bigint, 9223372036854775807
    )
    and (
        search_key = %(search_key)s::uuid
        or %(search_key)s::uuid is null
        and search_key is null
        and md5(query) = md5(%(query)s::text)
        and query = %(query)s::text
    )
order by query_id desc
limit %(limit)s::bigint
