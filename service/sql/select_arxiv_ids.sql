-- The papers that some searches found.
select distinct arxiv_id
from results
where query_id = any(%(query_ids)s::bigint[]) and arxiv_id is not null
