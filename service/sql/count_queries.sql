-- Searches by their number, after one of them, and how many results each says it has.
select query_id, num_entries
from queries
where query_id > %(after)s::bigint
order by query_id
limit %(limit)s::bigint
