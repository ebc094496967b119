-- The numbers of all runs of a search with a good answer. One that an operator recorded has no key:
-- then its text is what makes it the same.
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
