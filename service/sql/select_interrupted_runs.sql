-- What the results of some runs reveal of each run.
select query_id, min(timestamp) as timestamp, count(*)::int as num_entries
from results
where query_id = any(%(query_ids)s::bigint[])
group by query_id
order by query_id
