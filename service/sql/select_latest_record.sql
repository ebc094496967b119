-- The newest usable record of a search. If it waited in the queue, its age counts from when it was
-- acknowledged.
select
    query_id, timestamp, status, num_results, num_entries, query, outcome, remarks, feed_link,
    coalesce(acknowledged, recorded) as recorded_at
from queries
where search_key = %(search_key)s and outcome = 'ok'
order by query_id desc
limit 1
