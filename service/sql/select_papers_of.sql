-- The papers with these ids and versions.
select
    arxiv_id, version, title, authors, affiliations, abstract, journal, comment, published,
    updated, dois, primary_category, categories, links, withdrawn, timestamp
from papers
join unnest(%(arxiv_ids)s::text[], %(versions)s::smallint[]) as wanted (wanted_id, wanted_version)
    on arxiv_id = wanted_id and version = wanted_version
