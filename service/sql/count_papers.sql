-- How many papers match: in total, per category and per year of version 1; at most `max_counted` are counted.
-- A category with two names counts under the one in `facets`; other terms, such as MSC classes, do not count.
with found as (
    select published, categories
    from papers
    where coalesce(published, 0) between %(since)s::bigint and %(until)s::bigint
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
    order by coalesce(published, 0) desc
    limit %(max_counted)s::bigint
)
select 'total' as facet, '' as value, count(*) as count
from found
union all (
    select 'category', facet, sum(number)::bigint
    from
        -- papers with equal categories first: there are few combinations
        (select categories, count(*) as number from found group by categories) as combination,
        unnest(categories) with ordinality as listed (name, position)
    join unnest(%(categories)s::text[], %(facets)s::text[]) as known (name, facet) using (name)
    -- each paper once, even if it has a name twice, or both names of a category
    where position = array_position(categories, name)
        and (name = facet or facet <> all(categories))
    group by facet
    order by sum(number) desc, facet
    limit %(max_categories)s::bigint
)
union all (
    -- years begin in the reader's time zone
    select 'year', (%(first_year)s::int - 1 + width_bucket(published, %(years)s::bigint[]))::text, count(*)
    from found
    where published is not null
    group by 2
    order by 2 desc
)
