-- The announcements of one day by type, from a position on. With categories, types are those in them.
with page as (
    select date, arxiv_id, version, relative.type, type_rank
    from announcements
    cross join lateral (
        select announced_type(
            announcements.type, primary_category, cross_categories, %(category)s::text[]
        )
    ) as relative (type)
    cross join lateral (
        select array_position(
            array['new', 'cross', 'replace', 'replace-cross'], relative.type
        )::smallint
    ) as ranked (type_rank)
    where date = %(date)s::date
        and relative.type is not null
        and (%(types)s::text[] is null or relative.type = any(%(types)s::text[]))
        and (
            %(after_type_rank)s::smallint is null
            or (type_rank, arxiv_id) {comparison} (
                %(after_type_rank)s::smallint, %(after_arxiv_id)s::text
            )
        )
    order by type_rank {order}, arxiv_id {order}
    limit %(limit)s::bigint offset %(offset)s::bigint
)
select
    arxiv_id, version, title, authors, affiliations, abstract, journal, comment, published,
    updated, dois, primary_category, categories, links, withdrawn, timestamp,
    group_authors, page.date, page.type, page.type_rank
from page
join papers using (arxiv_id, version)
order by type_rank {order}, arxiv_id {order}
