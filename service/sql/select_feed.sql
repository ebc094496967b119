-- What some runs of a search found, each version of a paper when it came first, the latest first.
with came as (
    select arxiv_id, coalesce(version, 0) as version, min(timestamp) as timestamp
    from results
    where query_id = any(%(query_ids)s::bigint[]) and arxiv_id is not null
    group by 1, 2
    order by 3 desc, 1 desc, 2 desc
    limit %(limit)s::bigint
)
select
    papers.arxiv_id, papers.version, title, authors, affiliations, abstract, journal, comment, published,
    updated, dois, primary_category, categories, links, withdrawn, came.timestamp
from came
join papers on papers.arxiv_id = came.arxiv_id and papers.version = came.version
order by came.timestamp desc, papers.arxiv_id desc, papers.version desc
