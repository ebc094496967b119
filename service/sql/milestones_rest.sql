-- How many results come after the last milestone, if they are not too many.
select count(*)
from (
    select
    from results
    where (timestamp, query_id, result_number) > (
            %(after_timestamp)s::bigint, %(after_query_id)s::bigint,
            %(after_result_number)s::smallint
        )
        and timestamp <= coalesce(
            floor(extract(epoch from now()) - nullif(%(settle)s::float8, 0))::bigint,
            9223372036854775807
        )
    order by timestamp, query_id, result_number
    limit %(limit)s::bigint
) as rest
