-- Marks empty feeds of a day as stale if another one has papers: on a holiday all of them are empty.
update announcement_feeds set
    is_stale = true,
    not_before = clock_timestamp() + make_interval(secs => %(pause)s::float8)
where date = %(date)s::date and fetched is not null and items = 0 and not is_stale
    and exists (
        select from announcement_feeds as other where other.date = %(date)s::date and other.items > 0
    )
