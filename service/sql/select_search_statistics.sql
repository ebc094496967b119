-- The searches in consecutive periods, of which the last one is open; `period` counts from 0.
select
    width_bucket(hour, %(starts)s::bigint[]) - 1 as period, outcome, answered_by,
    sum(searches)::bigint, sum(waited)::bigint, sum(wait_seconds), max(longest_wait)
from search_statistics
where hour >= (%(starts)s::bigint[])[1]
group by 1, 2, 3
order by 1, 2, 3
