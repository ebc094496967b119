-- The versions of one paper, the latest first.
select
    arxiv_id, version, title, authors, affiliations, abstract, journal, comment, published,
    updated, dois, primary_category, categories, links, withdrawn, timestamp
from papers
where arxiv_id = %(arxiv_id)s::text
order by version desc
