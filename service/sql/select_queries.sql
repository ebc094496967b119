-- Searches in the order of time, from a place on, but for those younger than `settle` seconds.
select query_id, timestamp, status, num_results, num_entries, query, outcome
from queries
where (
        %(after_timestamp)s::bigint is null
        or (timestamp, query_id) > (%(after_timestamp)s::bigint, %(after_query_id)s::bigint)
    )
    -- where there is a place, it is a bound itself, and the only one at which to begin
    and (%(after_timestamp)s::bigint is not null or timestamp >= %(since)s::bigint)
    and timestamp <= least(
        %(until)s::bigint, floor(extract(epoch from now()) - nullif(%(settle)s::float8, 0))::bigint
    )
    -- a record that came late is young, whatever the time of its search
    and recorded <= coalesce(
        floor(extract(epoch from now()) - nullif(%(settle)s::float8, 0))::bigint,
        9223372036854775807
    )
    and (%(status)s::smallint is null or status = %(status)s::smallint)
    and (%(text)s::text is null or position(lower(%(text)s::text) in lower(query)) > 0)
order by timestamp, query_id
limit %(limit)s::bigint offset %(offset)s::bigint
