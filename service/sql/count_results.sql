-- How many results there are under each number, after one of them.
select query_id, count(*) as found
from results
where query_id > %(after)s::bigint
group by query_id
order by query_id
limit %(limit)s::bigint
