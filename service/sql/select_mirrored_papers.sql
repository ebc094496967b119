-- Papers of the mirror as entries of arXiv's API. Without a version, the latest one that arXiv has, or
-- that is stored if no source with versions has the paper. Papers of RSS feeds lack what entries need.
select
    papers.arxiv_id, papers.version, timestamp, title, authors, affiliations, abstract, journal, comment,
    published, updated, dois, primary_category, categories, links, withdrawn, group_authors, sent,
    paper_details.arxiv_id is not null as is_mirrored
from unnest(%(arxiv_ids)s::text[], %(versions)s::smallint[])
    with ordinality as name (arxiv_id, version, number)
left join paper_details on paper_details.arxiv_id = name.arxiv_id
join papers
    on papers.arxiv_id = name.arxiv_id
    and papers.version = coalesce(
        name.version,
        paper_details.version,
        (select max(version) from papers as stored where stored.arxiv_id = name.arxiv_id)
    )
where papers.abstract is not null and papers.source <> 'rss'
order by number
