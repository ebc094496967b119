-- The searches that are the pages of all harvests of a query.
select queries.query_id
from harvests
join queries on queries.harvest_id = harvests.harvest_id
where harvests.query = %(query)s
