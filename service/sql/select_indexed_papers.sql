-- All versions of some papers, with what the search index needs of them.
select
    arxiv_id, version, title, authors, null as affiliations, abstract, journal, comment, published,
    updated, dois, primary_category, categories, null as links, withdrawn, timestamp,
    group_authors, coalesce(changed::text::bigint, 0) as changed, first_timestamp
from papers
where arxiv_id = any(%(arxiv_ids)s::text[])
order by arxiv_id, version
