-- How many results each run has, by query_id, after one of them.
select query_id, count(*) as num_results
from results
where query_id > %(after)s::bigint
group by query_id
order by query_id
limit %(limit)s::bigint
