-- The latest runs that found a paper, without those younger than the read delay. Of a paper that very
-- many runs have found, those with its newest version are considered first, after results without
-- a version.
select query_id
from (
    select query_id, timestamp
    from results
    where arxiv_id = %(arxiv_id)s::text
        and timestamp <= visible_until(%(read_delay)s::float8)
    order by version desc
    limit 1000
) as recent
group by query_id, timestamp
order by timestamp desc, query_id desc
limit %(limit)s::bigint
