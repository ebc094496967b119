-- Papers in the order of their first submission, from a place on.
select
    arxiv_id, version, title, authors, affiliations, abstract, journal, comment, published,
    updated, dois, primary_category, categories, links, withdrawn, timestamp
from papers
where (
        %(after_published)s::bigint is null
        or (coalesce(published, 0), arxiv_id, version) > (
            %(after_published)s::bigint, %(after_arxiv_id)s::text, %(after_version)s::smallint
        )
    )
    -- where there is a place, it is a bound itself, and the only one at which to begin
    and (
        %(after_published)s::bigint is not null
        or coalesce(published, 0) >= %(since)s::bigint
    )
    and coalesce(published, 0) <= %(until)s::bigint
    and first_timestamp <= coalesce(
        floor(extract(epoch from now()) - nullif(%(settle)s::float8, 0))::bigint, 9223372036854775807
    )
    and (%(words)s::text is null or words @@ to_tsquery('arxiv', %(words)s::text))
    and (
        %(title)s::text is null
        or holds(title, %(title)s::text)
    )
    and (
        %(author)s::text is null
        or holds(listed(authors), %(author)s::text)
    )
    and (
        %(journal)s::text is null
        or holds(journal, %(journal)s::text)
    )
    and (
        %(category)s::text[] is null
        or categories && %(category)s::text[]
        or %(archive)s::text[] is not null
        and exists (
            select from unnest(categories) as name
            where split_part(name, '.', 1) = any(%(archive)s::text[])
        )
    )
    and (
        %(all_versions)s::boolean
        or not exists (
            select from papers as newer
            where newer.arxiv_id = papers.arxiv_id
                and newer.version > papers.version
                and newer.first_timestamp <= coalesce(
                    floor(extract(epoch from now()) - nullif(%(settle)s::float8, 0))::bigint,
                    9223372036854775807
                )
        )
    )
order by coalesce(published, 0), arxiv_id, version
limit %(limit)s::bigint offset %(offset)s::bigint
