-- The state of the rate limiter: whether a request to arXiv is in progress, the number of tickets,
-- and in seconds: the rest of the interval, the rest of the cooldown, and how long a request takes.
select
    holder is not null and held_until > clock_timestamp() as in_progress,
    (select count(*) from gate_queue where expires >= clock_timestamp()) as waiting,
    greatest(extract(epoch from free_at - clock_timestamp()), 0)::float8 as pause,
    greatest(extract(epoch from closed_until - clock_timestamp()), 0)::float8 as cooldown,
    request_time
from gate
