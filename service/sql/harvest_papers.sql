-- The papers that all harvests of a query have stored.
select distinct results.arxiv_id
from harvests
join queries on queries.harvest_id = harvests.harvest_id
join results on results.query_id = queries.query_id
where harvests.query = %(query)s and results.arxiv_id is not null
