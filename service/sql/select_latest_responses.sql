-- The latest responses of arXiv. Answers of the mirror are left out; there may be any number of them in a row,
-- so the scan is bounded.
select query_id, timestamp, status, num_results, num_entries, query, outcome
from (
    select *
    from queries
    where timestamp <= visible_until(%(read_delay)s::float8)
        and recorded <= visible_until(%(read_delay)s::float8)
    order by timestamp desc, query_id desc
    limit 1000
) as latest
where (remarks -> 'source') is null
order by timestamp desc, query_id desc
limit %(limit)s::bigint
