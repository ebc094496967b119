-- Papers of the mirror as entries of arXiv's API. Without a version, the latest one that arXiv has.
select
    papers.arxiv_id, papers.version, timestamp, title, authors, affiliations, abstract, journal, comment,
    published, updated, dois, primary_category, categories, links, withdrawn, group_authors, sent
from unnest(%(arxiv_ids)s::text[], %(versions)s::smallint[])
    with ordinality as name (arxiv_id, version, number)
left join paper_details on paper_details.arxiv_id = name.arxiv_id
join papers
    on papers.arxiv_id = name.arxiv_id
    and papers.version = coalesce(name.version, paper_details.version)
where papers.abstract is not null
order by number
