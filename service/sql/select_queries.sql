-- Runs by time, from a position on, without those younger than the read delay.
select query_id, timestamp, status, num_results, num_entries, query, outcome
from queries
where (
        %(after_timestamp)s::bigint is null
        or (timestamp, query_id) {comparison} (%(after_timestamp)s::bigint, %(after_query_id)s::bigint)
    )
    -- a position is the only bound at which the scan begins: PostgreSQL would take another one instead
    and (
        timestamp >= %(since)s::bigint
        or {is_ascending} and %(after_timestamp)s::bigint is not null
    )
    and (
        timestamp <= least(%(until)s::bigint, visible_until(%(read_delay)s::float8))
        or not {is_ascending} and %(after_timestamp)s::bigint is not null
    )
    -- a run that was recorded late is young, whatever its timestamp
    and recorded <= visible_until(%(read_delay)s::float8)
    and (%(status)s::smallint is null or status = %(status)s::smallint)
    and (%(text)s::text is null or position(lower(%(text)s::text) in lower(query)) > 0)
order by timestamp {order}, query_id {order}
limit %(limit)s::bigint offset %(offset)s::bigint
