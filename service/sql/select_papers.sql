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
    and first_timestamp <= visible_until(%(read_delay)s::float8)
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
