-- The newest good answer to a search; one that waited in a queue is as old as its acknowledgement.
select
    query_id, timestamp, status, num_results, num_entries, query, outcome, remarks,
    coalesce(acknowledged, recorded) as recorded
from queries
where search_key = %(search_key)s and outcome = 'ok'
order by query_id desc
limit 1
