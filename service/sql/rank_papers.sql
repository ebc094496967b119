-- Papers that match, the best first, from a position on; the newest `max_ranked` of them are ranked. Texts
-- with matches to highlight are returned once more, unaccented, with the matches between the characters 2 and 3.
with found as (
    select
        arxiv_id, version, title, authors, affiliations, abstract, journal, comment, published,
        updated, dois, primary_category, categories, links, withdrawn, timestamp,
        group_authors, words, to_tsquery('arxiv', %(words)s::text) as query
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
    order by coalesce(published, 0) desc, arxiv_id desc, version desc
    limit %(max_ranked)s::bigint
),
ranked as (
    -- the weights of note, abstract, author and title; the length of the text lowers the rank
    select *, -ts_rank_cd('{0.1, 0.3, 0.6, 1.0}', words, query, 1)::float8 as distance
    from found
),
page as (
    select *
    from ranked
    where %(after_distance)s::float8 is null
        or (distance, arxiv_id, version) > (
            %(after_distance)s::float8, %(after_arxiv_id)s::text, %(after_version)s::smallint
        )
    order by distance, arxiv_id, version
    limit %(limit)s::bigint offset %(offset)s::bigint
)
select
    arxiv_id, version, title, authors, affiliations, abstract, journal, comment, published,
    updated, dois, primary_category, categories, links, withdrawn, timestamp,
    group_authors, distance,
    case when %(mark_title)s::text <> '' and length(title) <= %(max_marked_chars)s::int then
        ts_headline('arxiv', unaccent_text(title), to_tsquery('arxiv', %(mark_title)s::text), options)
    end as marked_title,
    case when %(mark_author)s::text <> '' and length(join_names(authors)) <= %(max_marked_chars)s::int then
        ts_headline('arxiv', unaccent_text(join_names(authors)), to_tsquery('arxiv', %(mark_author)s::text), options)
    end as marked_author,
    case when %(mark_abstract)s::text <> '' and length(abstract) <= %(max_marked_chars)s::int then
        ts_headline('arxiv', unaccent_text(abstract), to_tsquery('arxiv', %(mark_abstract)s::text), options)
    end as marked_abstract
from page, (
    select 'HighlightAll=true, StartSel=' || chr(2) || ', StopSel=' || chr(3) as options
) as headline
order by distance, arxiv_id, version
