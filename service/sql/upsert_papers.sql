-- Keeps what searches told of papers, unless a later one has told something else already; a row is
-- touched only where something has changed, and in the order of the key, so that two searches with
-- the same papers cannot wait for each other. What has no abstract is no full account: it makes a
-- new row, but changes none, and any full one is better. Of several full ones the latest counts.
with told as (
    select distinct on (arxiv_id, coalesce(version, 0))
        arxiv_id, coalesce(version, 0) as version, timestamp,
        min(timestamp) over (partition by arxiv_id, coalesce(version, 0)) as first_timestamp,
        title, authors, affiliations, abstract, journal, comment, published, updated, dois,
        primary_category, categories, links, withdrawn
    from json_to_recordset(%(papers)s::json) as (
        timestamp bigint, arxiv_id text, version smallint, title text, authors text[], affiliations jsonb,
        abstract text, journal text, comment text, published bigint, updated bigint,
        dois text[], primary_category text, categories text[], links jsonb, withdrawn boolean
    )
    where arxiv_id is not null
    order by arxiv_id, coalesce(version, 0), abstract is null, timestamp desc
)
insert into papers (
    arxiv_id, version, timestamp, first_timestamp, title, authors, affiliations, abstract, journal,
    comment, published, updated, dois, primary_category, categories, links, withdrawn
)
select
    told.arxiv_id, told.version, told.timestamp, told.first_timestamp, told.title, told.authors,
    told.affiliations, told.abstract, told.journal, told.comment, told.published, told.updated,
    told.dois, told.primary_category, told.categories, told.links, told.withdrawn
from told
left join papers on papers.arxiv_id = told.arxiv_id and papers.version = told.version
where papers.arxiv_id is null
    or told.abstract is not null
    and (papers.abstract is null or papers.timestamp <= told.timestamp)
    and (
        told.title, told.authors, told.affiliations, told.abstract, told.journal, told.comment,
        told.published, told.updated, told.dois, told.primary_category, told.categories,
        told.links, told.withdrawn
    ) is distinct from (
        papers.title, papers.authors, papers.affiliations, papers.abstract, papers.journal,
        papers.comment, papers.published, papers.updated, papers.dois, papers.primary_category,
        papers.categories, papers.links, papers.withdrawn
    )
order by told.arxiv_id, told.version
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
where excluded.abstract is not null
    and (papers.abstract is null or papers.timestamp <= excluded.timestamp)
