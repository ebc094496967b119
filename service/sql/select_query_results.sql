-- The papers of one search, in their order.
select query_id, timestamp, result_number, author, title, journal, arxiv_id, version
from results
where query_id = %(query_id)s
order by result_number
