-- The versions of one paper, the latest first, but for those younger than `settle` seconds.
select
    arxiv_id, version, title, authors, affiliations, abstract, journal, comment, published,
    updated, dois, primary_category, categories, links, withdrawn, timestamp
from papers
where arxiv_id = %(arxiv_id)s::text
    and first_timestamp <= coalesce(
        floor(extract(epoch from now()) - nullif(%(settle)s::float8, 0))::bigint, 9223372036854775807
    )
order by version desc
