-- One page of all results in the order of their recording, but for those younger than `settle` seconds.
select query_id, timestamp, result_number, author, title, journal, arxiv_id, version
from results
where timestamp <= coalesce(
    (extract(epoch from now()) - nullif(%(settle)s::float8, 0))::bigint, 9223372036854775807
)
order by query_id, result_number
limit %(limit)s::bigint offset %(offset)s::bigint
