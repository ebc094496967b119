-- Papers by their key, from a position on, with what the search index needs of them.
select
    arxiv_id, version, title, authors, null as affiliations, abstract, journal, comment, published,
    updated, dois, primary_category, categories, null as links, withdrawn, timestamp,
    group_authors, coalesce(changed::text::bigint, 0) as changed, first_timestamp
from papers
where (arxiv_id, version) > (%(after_arxiv_id)s::text, %(after_version)s::smallint)
order by arxiv_id, version
limit %(limit)s::bigint
