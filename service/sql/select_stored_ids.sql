-- Which of these papers have details, or are stored in this version.
select arxiv_id from paper_details where arxiv_id = any(%(arxiv_ids)s::text[])
union
select papers.arxiv_id
from unnest(%(arxiv_ids)s::text[], %(versions)s::smallint[]) as name (arxiv_id, version)
join papers on papers.arxiv_id = name.arxiv_id and papers.version = name.version
