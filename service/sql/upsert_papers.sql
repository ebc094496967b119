-- Stores the papers that searches found. A row is updated only by the data of a later search, and
-- only if something differs; in the order of the key, so that two searches with the same papers do
-- not deadlock. Data without an abstract is incomplete: it adds a row, but never changes one. Rows from
-- OAI-PMH are replaced by searches that are four days later: arXiv's search results may have the data of
-- three days before. A withdrawal that another source shows remains.
with sent as (
    select distinct on (arxiv_id, coalesce(version, 0))
        arxiv_id, coalesce(version, 0) as version, timestamp,
        min(timestamp) over (partition by arxiv_id, coalesce(version, 0)) as first_timestamp,
        title, authors, affiliations, abstract, journal, comment, published, updated, dois,
        primary_category, categories, links, withdrawn, group_authors, sent,
        coalesce(source, 'api') as source, other_sources
    from json_to_recordset(%(papers)s::json) as (
        timestamp bigint, arxiv_id text, version smallint, title text, authors text[], affiliations jsonb,
        abstract text, journal text, comment text, published bigint, updated bigint,
        dois text[], primary_category text, categories text[], links jsonb, withdrawn boolean,
        group_authors text[], sent jsonb, source text, other_sources jsonb
    )
    where arxiv_id is not null
    order by arxiv_id, coalesce(version, 0), abstract is null, timestamp desc
)
insert into papers (
    arxiv_id, version, timestamp, first_timestamp, title, authors, affiliations, abstract, journal,
    comment, published, updated, dois, primary_category, categories, links, withdrawn, group_authors,
    sent, source, other_sources
)
select
    sent.arxiv_id, sent.version, sent.timestamp, sent.first_timestamp, sent.title, sent.authors,
    sent.affiliations, sent.abstract, sent.journal, sent.comment, sent.published, sent.updated,
    sent.dois, sent.primary_category, sent.categories, sent.links, sent.withdrawn,
    sent.group_authors, sent.sent, sent.source, sent.other_sources
from sent
left join papers on papers.arxiv_id = sent.arxiv_id and papers.version = sent.version
where papers.arxiv_id is null
    or sent.abstract is not null
    and (
        papers.abstract is null
        or sent.source <> 'api'
        or papers.timestamp + case when papers.source in ('arXiv', 'arXivRaw') then 345600 else 0 end
            <= sent.timestamp
    )
    and (
        sent.title, sent.authors, sent.affiliations, sent.abstract, sent.journal, sent.comment,
        sent.published, sent.updated, sent.dois, sent.primary_category, sent.categories,
        sent.links, sent.withdrawn, sent.group_authors, sent.sent
    ) is distinct from (
        papers.title, papers.authors, papers.affiliations, papers.abstract, papers.journal,
        papers.comment, papers.published, papers.updated, papers.dois, papers.primary_category,
        papers.categories, papers.links, papers.withdrawn, papers.group_authors, papers.sent
    )
order by sent.arxiv_id, sent.version
on conflict (arxiv_id, version) do update set
    timestamp = excluded.timestamp,
    title = excluded.title,
    authors = excluded.authors,
    affiliations = excluded.affiliations,
    abstract = excluded.abstract,
    journal = excluded.journal,
    comment = excluded.comment,
    published = excluded.published,
    updated = excluded.updated,
    dois = excluded.dois,
    primary_category = excluded.primary_category,
    categories = excluded.categories,
    links = excluded.links,
    withdrawn = excluded.withdrawn
        or (papers.withdrawn and papers.comment is not distinct from excluded.comment),
    group_authors = excluded.group_authors,
    sent = excluded.sent,
    source = excluded.source,
    other_sources = excluded.other_sources
where excluded.abstract is not null
    and (
        papers.abstract is null
        or excluded.source <> 'api'
        or papers.timestamp + case when papers.source in ('arXiv', 'arXivRaw') then 345600 else 0 end
            <= excluded.timestamp
    )
