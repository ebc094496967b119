-- Results against the order of time, from a place back, but for those younger than `settle` seconds.
select author, title, journal, query_id, timestamp, result_number, arxiv_id, version
from results
where (
        %(after_timestamp)s::bigint is null
        or (timestamp, query_id, result_number) < (
            %(after_timestamp)s::bigint, %(after_query_id)s::bigint,
            %(after_result_number)s::smallint
        )
    )
    -- where there is a place, it is a bound itself, and the only one at which to begin
    and timestamp >= %(since)s::bigint
    and (
        %(after_timestamp)s::bigint is not null
        or timestamp <= least(
            %(until)s::bigint, (extract(epoch from now()) - nullif(%(settle)s::float8, 0))::bigint
        )
    )
    and (%(query_id)s::bigint is null or query_id = %(query_id)s::bigint)
    and (
        %(words)s::text is null
        or paper_words(title, author, null, journal) @@ to_tsquery('arxiv', %(words)s::text)
    )
    and (
        %(category)s::text[] is null
        or exists (
            select from papers
            where papers.arxiv_id = results.arxiv_id
                and papers.version = coalesce(results.version, 0)
                and (
                    papers.categories && %(category)s::text[]
                    or %(archive)s::text[] is not null
                    and exists (
                        select from unnest(papers.categories) as name
                        where split_part(name, '.', 1) = any(%(archive)s::text[])
                    )
                )
        )
    )
order by timestamp desc, query_id desc, result_number desc
limit %(limit)s::bigint offset %(offset)s::bigint
