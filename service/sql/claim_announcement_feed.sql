-- Takes the right to read one of the feeds of a day for some seconds. Returns no row if all of them are
-- read, or other processes have them, or they must not be requested yet.
update announcement_feeds
set not_before = clock_timestamp() + make_interval(secs => %(seconds)s::float8)
where (date, feed) = (
    select date, feed from announcement_feeds
    where date = %(date)s::date and (fetched is null or is_stale) and not_before <= clock_timestamp()
    order by fetched nulls first, feed
    limit 1
    for update skip locked
)
returning feed
