-- How many papers match, of each category and each year of first submission; `most` are counted.
with found as (
    select published, categories
    from papers
    where coalesce(published, 0) between %(since)s::bigint and %(until)s::bigint
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
    order by coalesce(published, 0) desc
    limit %(most)s::bigint
)
select 'total' as facet, '' as value, count(*) as count
from found
union all (
    select 'category', name, count(*)
    from found, unnest(categories) as name
    group by name
    order by count(*) desc, name
    limit %(categories)s::bigint
)
union all (
    -- the years begin where those of the reader's zone do
    select 'year', (%(first_year)s::int - 1 + width_bucket(published, %(years)s::bigint[]))::text, count(*)
    from found
    where published is not null
    group by 2
    order by 2 desc
)
