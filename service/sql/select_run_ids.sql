-- The query_ids of all successful runs of a search. A run that an operator recorded has no search_key;
-- then the text of its query identifies the search.
select query_id
from queries
where outcome = 'ok'
    and (
        search_key = %(search_key)s::uuid
        or %(search_key)s::uuid is null
        and search_key is null
        and md5(query) = md5(%(query)s::text)
        and query = %(query)s::text
    )
