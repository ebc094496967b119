-- The state of the rate limiter: whether a request to arXiv is in progress, the number of tickets of
-- searches other than this process's, and the rest of the cooldown in seconds.
select
    holder is not null and held_until > clock_timestamp() as in_progress,
    (
        select count(*)
        from gate_queue
        where expires >= clock_timestamp()
            and priority = 0
            and ticket is distinct from %(ticket)s
    ) as waiting,
    greatest(extract(epoch from closed_until - clock_timestamp()), 0)::float8 as cooldown
from gate
