-- What some runs of a search found, each version of a paper when any of all its runs found it first,
-- the latest first: what a feed has told once keeps its date.
with found as (
    select arxiv_id, coalesce(version, 0) as version, min(timestamp) as timestamp
    from results
    where query_id = any(%(query_ids)s::bigint[]) and arxiv_id is not null
    group by 1, 2
    order by 3 desc, 1 desc, 2 desc
    limit %(limit)s::bigint
),
came as (
    select found.arxiv_id, found.version, min(results.timestamp) as timestamp
    from found
    join results
        on results.arxiv_id = found.arxiv_id and coalesce(results.version, 0) = found.version
    where results.query_id = any(%(all_query_ids)s::bigint[])
    group by 1, 2
)
select
    papers.arxiv_id, papers.version, title, authors, affiliations, abstract, journal, comment, published,
    updated, dois, primary_category, categories, links, withdrawn, came.timestamp
from came
join papers on papers.arxiv_id = came.arxiv_id and papers.version = came.version
order by came.timestamp desc, papers.arxiv_id desc, papers.version desc
