-- Results by time, from a position on, without those younger than the read delay.
select
    author, results.title, results.journal, query_id, results.timestamp, result_number,
    results.arxiv_id, results.version
-- the planner removes the join unless there is a filter by category
from results
left join papers
    on papers.arxiv_id = results.arxiv_id and papers.version = coalesce(results.version, 0)
where (
        %(after_timestamp)s::bigint is null
        or (results.timestamp, query_id, result_number) {comparison} (
            %(after_timestamp)s::bigint, %(after_query_id)s::bigint,
            %(after_result_number)s::smallint
        )
    )
    -- a position is the only bound at which the scan begins: PostgreSQL would take another one instead
    and (
        results.timestamp >= %(since)s::bigint
        or {is_ascending} and %(after_timestamp)s::bigint is not null
    )
    and (
        results.timestamp <= least(%(until)s::bigint, visible_until(%(read_delay)s::float8))
        or not {is_ascending} and %(after_timestamp)s::bigint is not null
    )
    and (%(query_id)s::bigint is null or query_id = %(query_id)s::bigint)
    -- these comparisons are cheap for each row of a scan in order; the words below have an index
    and (
        %(title)s::text is null
        or contains_normalized(results.title, %(title)s::text)
    )
    and (
        %(author)s::text is null
        or contains_normalized(author, %(author)s::text)
    )
    and (
        %(journal)s::text is null
        or contains_normalized(results.journal, %(journal)s::text)
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
order by results.timestamp {order}, query_id {order}, result_number {order}
limit %(limit)s::bigint offset %(offset)s::bigint
