-- The papers that records may change, locked in the order in which all writers lock them.
select
    papers.arxiv_id, papers.version, timestamp, title, authors, affiliations, abstract, journal, comment,
    published, updated, dois, primary_category, categories, links, withdrawn, group_authors, sent,
    source, other_sources
from papers
join unnest(%(arxiv_ids)s::text[], %(versions)s::smallint[]) as name (arxiv_id, version)
    on papers.arxiv_id = name.arxiv_id and papers.version = name.version
order by papers.arxiv_id, papers.version
for update of papers
