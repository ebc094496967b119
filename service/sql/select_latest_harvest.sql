-- The latest harvest of a query.
select harvest_id, query, submitted_to, submitted_from, start, stop, page, finished
from harvests
where query = %(query)s
order by harvest_id desc
limit 1
