-- Results against the order of time, from a place back, but for those younger than `settle` seconds.
select
    author, results.title, results.journal, query_id, results.timestamp, result_number,
    results.arxiv_id, results.version
-- left out by the planner where no category is asked for
from results
left join papers
    on papers.arxiv_id = results.arxiv_id and papers.version = coalesce(results.version, 0)
where (
        %(after_timestamp)s::bigint is null
        or (results.timestamp, query_id, result_number) < (
            %(after_timestamp)s::bigint, %(after_query_id)s::bigint,
            %(after_result_number)s::smallint
        )
    )
    -- where there is a place, it is a bound itself, and the only one at which to begin
    and results.timestamp >= %(since)s::bigint
    and (
        %(after_timestamp)s::bigint is not null
        or results.timestamp <= least(
            %(until)s::bigint, floor(extract(epoch from now()) - nullif(%(settle)s::float8, 0))::bigint
        )
    )
    and (%(query_id)s::bigint is null or query_id = %(query_id)s::bigint)
    -- cheap for each row, where the planner walks along; the words after it have an index
    and (
        %(title)s::text is null
        or holds(results.title, %(title)s::text)
    )
    and (
        %(author)s::text is null
        or holds(author, %(author)s::text)
    )
    and (
        %(journal)s::text is null
        or holds(results.journal, %(journal)s::text)
    )
    and (
        %(words)s::text is null
        or result_words(results.title, author, results.journal)
            @@ to_tsquery('arxiv', %(words)s::text)
    )
    and (
        %(category)s::text[] is null
        or papers.categories && %(category)s::text[]
        or %(archive)s::text[] is not null
        and exists (
            select from unnest(papers.categories) as name
            where split_part(name, '.', 1) = any(%(archive)s::text[])
        )
    )
order by results.timestamp desc, query_id desc, result_number desc
limit %(limit)s::bigint offset %(offset)s::bigint
