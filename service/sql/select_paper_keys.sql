-- The keys of papers, from a position on, and the transactions that wrote them.
select arxiv_id, version, coalesce(changed::text::bigint, 0) as changed, first_timestamp
from papers
where (arxiv_id, version) > (%(after_arxiv_id)s::text, %(after_version)s::smallint)
order by arxiv_id, version
limit %(limit)s::bigint
