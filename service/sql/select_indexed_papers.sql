-- All versions of some papers, with what the search index needs of them.
select
    papers.arxiv_id, papers.version, title, authors, null as affiliations, abstract, journal, comment,
    published, updated, dois, primary_category, categories, null as links, withdrawn, timestamp,
    group_authors, coalesce(changed::text::bigint, 0) as changed, report_number, first_timestamp
from papers
left join paper_details on paper_details.arxiv_id = papers.arxiv_id
where papers.arxiv_id = any(%(arxiv_ids)s::text[])
order by papers.arxiv_id, papers.version
