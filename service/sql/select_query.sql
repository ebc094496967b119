-- One search, unless it is younger than `settle` seconds.
select query_id, timestamp, status, num_results, num_entries, query, outcome, search_key
from queries
where query_id = %(query_id)s::bigint
    and greatest(timestamp, recorded) <= coalesce(
        floor(extract(epoch from now()) - nullif(%(settle)s::float8, 0))::bigint, 9223372036854775807
    )
