-- The versions of one paper, the latest first, without those younger than the read delay.
select
    arxiv_id, version, title, authors, affiliations, abstract, journal, comment, published,
    updated, dois, primary_category, categories, links, withdrawn, timestamp,
    group_authors
from papers
where arxiv_id = %(arxiv_id)s::text
    and first_timestamp <= visible_until(%(read_delay)s::float8)
order by version desc
