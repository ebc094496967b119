-- The papers with these ids and versions.
select
    arxiv_id, version, title, authors, affiliations, abstract, journal, comment, published,
    updated, dois, primary_category, categories, links, withdrawn, timestamp,
    group_authors
from papers
join unnest(%(arxiv_ids)s::text[], %(versions)s::smallint[]) as name (name_id, name_version)
    on arxiv_id = name_id and version = name_version
