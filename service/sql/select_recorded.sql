-- The newest good answer to a search.
select
    query_id, timestamp, status, num_results, num_entries, query, outcome, remarks, recorded
from queries
where search_key = %(search_key)s and outcome = 'ok'
order by query_id desc
limit 1
