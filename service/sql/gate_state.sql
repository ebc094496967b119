-- Whether a request to arXiv is under way, how many searches wait for the next one, and for how long arXiv still wants to be left alone.
select
    holder is not null and held_until > clock_timestamp() as asking,
    (select count(*) from gate_queue where expires >= clock_timestamp()) as waiting,
    greatest(extract(epoch from closed_until - clock_timestamp()), 0)::float8 as closed
from gate
