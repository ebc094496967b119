-- The entries of arXiv's response to one search, in their order. A result whose paper is not stored has
-- only author, title and journal.
select
    results.arxiv_id, results.version, results.timestamp,
    coalesce(papers.title, results.title) as title,
    coalesce(papers.authors, string_to_array(results.author, ', ')) as authors,
    papers.affiliations, papers.abstract,
    case when papers.arxiv_id is null then results.journal else papers.journal end as journal,
    papers.comment, papers.published, papers.updated, coalesce(papers.dois, '{}') as dois,
    papers.primary_category, coalesce(papers.categories, '{}') as categories, papers.links,
    coalesce(papers.withdrawn, false) as withdrawn,
    coalesce(papers.group_authors, '{}') as group_authors, papers.sent
from results
left join papers
    on papers.arxiv_id = results.arxiv_id and papers.version = coalesce(results.version, 0)
where results.query_id = %(query_id)s::bigint
order by results.result_number
