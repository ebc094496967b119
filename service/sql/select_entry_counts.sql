-- How many results each run should have, by query_id, after one of them.
select query_id, num_entries
from queries
where query_id > %(after)s::bigint
order by query_id
limit %(limit)s::bigint
