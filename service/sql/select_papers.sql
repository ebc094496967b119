-- Papers by the date of version 1, from a position on, without those younger than the read delay.
select
    arxiv_id, version, title, authors, affiliations, abstract, journal, comment, published,
    updated, dois, primary_category, categories, links, withdrawn, timestamp,
    group_authors
from papers
where (
        %(after_published)s::bigint is null
        or (coalesce(published, 0), arxiv_id, version) {comparison} (
            %(after_published)s::bigint, %(after_arxiv_id)s::text, %(after_version)s::smallint
        )
    )
    -- a position is the only bound at which the scan begins: PostgreSQL would take another one instead
    and (
        coalesce(published, 0) >= %(since)s::bigint
        or {is_ascending} and %(after_published)s::bigint is not null
    )
    and (
        coalesce(published, 0) <= %(until)s::bigint
        or not {is_ascending} and %(after_published)s::bigint is not null
    )
    and first_timestamp <= visible_until(%(read_delay)s::float8)
    and (%(words)s::text is null or words @@ to_tsquery('arxiv', %(words)s::text))
    and (
        %(title)s::text is null
        or contains_normalized(title, %(title)s::text)
    )
    and (
        %(author)s::text is null
        or contains_normalized(join_names(authors), %(author)s::text)
    )
    and (
        %(journal)s::text is null
        or contains_normalized(journal, %(journal)s::text)
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
                and newer.first_timestamp <= visible_until(%(read_delay)s::float8)
        )
    )
order by coalesce(published, 0) {order}, arxiv_id {order}, version {order}
limit %(limit)s::bigint offset %(offset)s::bigint
