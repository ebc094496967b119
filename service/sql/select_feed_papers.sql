-- The papers that some runs of a search found, the latest first. Each version of a paper is dated by the
-- first of all runs that found it, so its date in a feed never changes.
with found as (
    select arxiv_id, coalesce(version, 0) as version, min(timestamp) as timestamp
    from results
    where query_id = any(%(query_ids)s::bigint[]) and arxiv_id is not null
    group by 1, 2
    order by 3 desc, 1 desc, 2 desc
    limit %(limit)s::bigint
),
dated as (
    select found.arxiv_id, found.version, min(results.timestamp) as timestamp
    from found
    join results
        on results.arxiv_id = found.arxiv_id and coalesce(results.version, 0) = found.version
    where results.query_id = any(%(all_query_ids)s::bigint[])
    group by 1, 2
)
select
    papers.arxiv_id, papers.version, title, authors, affiliations, abstract, journal, comment, published,
    updated, dois, primary_category, categories, links, withdrawn, dated.timestamp,
    group_authors
from dated
join papers on papers.arxiv_id = dated.arxiv_id and papers.version = dated.version
order by dated.timestamp desc, papers.arxiv_id desc, papers.version desc
