-- The key of every so many results in the order of time, after one of them.
select timestamp, query_id, result_number
from (
    select
        timestamp, query_id, result_number,
        row_number() over (order by timestamp, query_id, result_number) as number
    from results
    where (
            %(after_timestamp)s::bigint is null
            or (timestamp, query_id, result_number) > (
                %(after_timestamp)s::bigint, %(after_query_id)s::bigint,
                %(after_result_number)s::smallint
            )
        )
        and timestamp <= coalesce(
            floor(extract(epoch from now()) - nullif(%(settle)s::float8, 0))::bigint,
            9223372036854775807
        )
    order by timestamp, query_id, result_number
    limit %(limit)s::bigint
) as numbered
where mod(number, %(step)s::bigint) = 0
order by timestamp, query_id, result_number
