-- The results of some runs, in their order.
select author, title, journal, query_id, timestamp, result_number, arxiv_id, version
from results
where query_id = any(%(query_ids)s::bigint[])
order by query_id, result_number
