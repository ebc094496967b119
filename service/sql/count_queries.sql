-- The number of runs from a time on, without those younger than the read delay. Counting stops at a limit.
select count(*)
from (
    select
    from queries
    where timestamp between %(since)s::bigint and visible_until(%(read_delay)s::float8)
        and recorded <= visible_until(%(read_delay)s::float8)
    limit %(limit)s::bigint
) as runs
