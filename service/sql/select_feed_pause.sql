-- Seconds until a feed of a day is to be requested; no row if all of them have been read.
select greatest(extract(epoch from min(not_before) - clock_timestamp()), 0)::float8
from announcement_feeds
where date = %(date)s::date and (fetched is null or is_stale)
having count(*) > 0
